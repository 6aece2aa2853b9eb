"""The book's settings: plain Sphinx (book/conf.py) and jupyter-book make the same of _config.yml; newer versions."""

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.version import Version

ROOT = Path(__file__).parents[1]
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text())
SERVICES = {"jupyter_book", "sphinx_thebe", "sphinx_comments", "sphinx_jupyterbook_latex", "sphinx_multitoc_numbering"}
# What jupyter-book sets besides: for those services, and what Sphinx and its extensions have without being told.
BESIDES = {"comments_config", "use_jupyterbook_latex", "use_multitoc_numbering", "latex_engine",
           "external_toc_path", "html_logo", "myst_url_schemes", "nb_execution_allow_errors", "nb_execution_cache_path",
           "nb_execution_excludepatterns", "nb_execution_in_temp", "pygments_style"}
THEME_BESIDES = {"launch_buttons", "extra_footer", "announcement", "analytics", "use_edit_page_button"}


def changed(value):
    """Every setting another one, so that none agrees by chance with a default."""
    if isinstance(value, dict):
        return {key: changed(entry) for key, entry in value.items()}
    return value[1:] if isinstance(value, list) else not value if isinstance(value, bool) else value * 2


@pytest.fixture
def plain(tmp_path, monkeypatch):
    """What book/conf.py makes of a _config.yml."""
    monkeypatch.setattr(sys, "path", sys.path[:])

    def read(config):
        (tmp_path / "book").mkdir(exist_ok=True)
        shutil.copy(ROOT / "book/conf.py", tmp_path / "book")
        (tmp_path / "_config.yml").write_text(yaml.safe_dump(config))
        return runpy.run_path(tmp_path / "book/conf.py")
    return read


@pytest.mark.parametrize("config", [CONFIG, changed(CONFIG)], ids=["as it is", "all changed"])
def test_sphinx_and_jupyter_book_read_the_same_settings(config, plain, tmp_path):
    ours = plain(config)
    shutil.copy(ROOT / "book/_toc.yml", tmp_path / "book")
    subprocess.run([Path(sys.executable).with_name("jupyter-book"), "config", "sphinx", tmp_path / "book"], check=True,
                   capture_output=True)
    theirs = runpy.run_path(tmp_path / "conf.py")
    theirs = {name: value for name, value in theirs.items() if not name.startswith("__")}
    apart = {name for name, value in theirs.items() if ours.get(name) != value}
    assert apart - BESIDES == {"extensions", "exclude_patterns", "html_theme_options"}
    assert set(theirs["extensions"]) - SERVICES == set(ours["extensions"])
    assert set(theirs["exclude_patterns"]) >= set(ours["exclude_patterns"])
    options = {name: value for name, value in theirs["html_theme_options"].items() if name not in THEME_BESIDES}
    assert ours["html_theme_options"] == options


@pytest.mark.parametrize("part, key", [("execute", "cache"), ("html", "announcement"), ("logo", None)])
def test_setting_that_conf_does_not_know_is_named(part, key, plain):
    config = CONFIG | {part: CONFIG.get(part, {}) | {key: "x"} if key else "x"}
    with pytest.raises(ValueError, match=rf"^_config.yml: found {part}{'.' + key if key else ''}, expected"):
        plain(config)


def test_newer_versions_are_newer_than_the_pins():
    """Those that plain Sphinx is given, at the end of environment.yml."""
    text = (ROOT / "environment.yml").read_text()
    pins = dict(re.findall(r"^ *- (\S+)==(\S+)", text, re.M))
    newer = dict(re.findall(r"^#   (\S+)==(\S+)$", text, re.M))
    assert "Sphinx" in newer
    assert [name for name in newer if name in pins and Version(newer[name]) <= Version(pins[name])] == []
