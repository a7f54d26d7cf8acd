"""Mathematics as MathML, which browsers and screen readers know by themselves: no script, no request."""

from docutils.nodes import SkipNode
from docutils.utils.math import MathError, latex2mathml
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)


def setup(app):
    app.add_html_math_renderer("mathml", (write_inline, None), (write_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_inline(translator, node):
    translator.body.append(_formula(node, as_block=False))
    raise SkipNode


def write_block(translator, node):
    translator.body.append(f'<div class="math">{_formula(node, as_block=True)}</div>\n')
    raise SkipNode


def _formula(node, as_block):
    """The formula; one that cannot be read is a warning, and so ends the build."""
    try:
        return latex2mathml.tex2mathml(node.astext(), as_block=as_block)
    except MathError as error:
        LOGGER.warning("cannot set %r: %s", node.astext(), error, location=node)
        return ""
