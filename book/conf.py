"""What plain Sphinx makes of ``_config.yml``, the one place of the book's settings: ``python -m sphinx book OUTPUT``.

jupyter-book 1 reads ``_config.yml`` by itself and passes over this file; ``tests/test_conf.py`` holds that both make
the same of it.
"""

import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]

# what jupyter-book sets for every book, without its services: Binder, comments, LaTeX
extensions = ["sphinx_togglebutton", "sphinx_copybutton", "myst_nb", "sphinx_external_toc", "sphinx.ext.intersphinx",
              "sphinx_design", "sphinx_book_theme"]
html_theme = "sphinx_book_theme"
html_theme_options = {"search_bar_text": "Search this book...", "home_page_in_toc": True}
html_sourcelink_suffix = ""
numfig = True
suppress_warnings = ["myst.domains"]

# _config.yml's names and Sphinx's
NAMES = {
    "title": "html_title",
    "author": "author",
    "copyright": "copyright",
    "only_build_toc_files": "external_toc_exclude_missing",
    "exclude_patterns": "exclude_patterns",
    "bibtex_bibfiles": "bibtex_bibfiles",
    "execute.execute_notebooks": "nb_execution_mode",
    "execute.timeout": "nb_execution_timeout",
    "execute.stderr_output": "nb_output_stderr",
    "parse.myst_enable_extensions": "myst_enable_extensions",
    "html.favicon": "html_favicon",
    "html.baseurl": "html_baseurl",
}
THEME_NAMES = {
    "repository.url": "repository_url",
    "repository.path_to_book": "path_to_docs",
    "repository.branch": "repository_branch",
    "html.use_repository_button": "use_repository_button",
    "html.use_issues_button": "use_issues_button",
}


def flat(config):
    """The settings under names like ``execute.timeout``, without what is meant for Sphinx itself."""
    for part, entry in config.items():
        if isinstance(entry, dict) and part != "sphinx":
            yield from ((f"{part}.{key}", value) for key, value in entry.items())
        elif part != "sphinx":
            yield part, entry


config = yaml.safe_load((ROOT / "_config.yml").read_text())
for name, value in flat(config):
    if name in THEME_NAMES:
        html_theme_options[THEME_NAMES[name]] = value
    elif name in NAMES:
        globals()[NAMES[name]] = value
    else:
        raise ValueError(f"_config.yml: found {name}, expected a setting that book/conf.py has a name for: "
                         f"{', '.join([*NAMES, *THEME_NAMES])}")
extensions += [*config["sphinx"]["extra_extensions"], *config["sphinx"]["local_extensions"], "sphinxcontrib.bibtex"]
sys.path += [str(ROOT / folder) for folder in set(config["sphinx"]["local_extensions"].values())]
globals().update(config["sphinx"]["config"])
