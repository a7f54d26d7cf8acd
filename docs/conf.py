"""How Sphinx builds the book; `python docs/build.py` runs it for each language."""

import os
import sys
from pathlib import Path

import matplotlib

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(DOCS / "_extensions")]
# the lessons run in processes of their own
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

project = "keras_gates"
author = "The keras_gates developers"
copyright = author

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "myst_nb",
    "docstrings",
    "mathml",
]
exclude_patterns = ["_extensions", "_static", "_templates"]
templates_path = ["_templates"]
language = "en"
locale_dirs = ["locales"]
gettext_compact = False
gettext_uuid = False

autodoc_typehints = "signature"
python_maximum_signature_line_length = 100
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_custom_sections = [("Call arguments", "params_style")]

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_heading_anchors = 4
nb_execution_mode = "cache"
nb_execution_cache_path = str(ROOT / "build" / "lessons")
nb_execution_timeout = 300  # seconds for one cell, on a machine that does other things too
nb_output_stderr = "remove"  # what TensorFlow says of the machine
nb_execution_raise_on_error = True
nb_merge_streams = True

html_theme = "furo"
html_static_path = ["_static", str(Path(matplotlib.get_data_path(), "fonts", "ttf", "STIXGeneral.ttf"))]
html_extra_path = ["playground.html"]
html_css_files = ["book.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/languages.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}


def setup(app):
    app.connect("config-inited", name_the_book)


def name_the_book(app, config):
    config.html_title = "게이트의 책" if config.language == "ko" else "The book of gates"
