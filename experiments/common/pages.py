"""Pages of HTML, from the templates that lie beside the modules that use them.

They are Jinja2 templates: all HTML stands in .html files, and what is put into them is escaped unless a
template says otherwise.
"""

from pathlib import Path

import jinja2

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parents[1]),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(template, **content):
    """A page from a template, given by its path in `experiments`, such as "inspect/index.html"."""
    return _TEMPLATES.get_template(template).render(content)
