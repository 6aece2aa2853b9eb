"""The extension that keeps the pages to themselves: what it sets with the browser's files, and without them."""

import logging
import sys
from types import SimpleNamespace

import pytest
from pages import ROOT

sys.path.insert(0, str(ROOT / "book/_ext"))
import offline  # noqa: E402


@pytest.fixture
def config():
    return SimpleNamespace(extensions=[], html_static_path=[], html_css_files=[], html_js_files=[],
                           templates_path=[], html_theme_options={}, html_context={}, nb_execution_mode="cache",
                           mathjax_path="public", nb_ipywidgets_js="public")


def test_without_npm_the_build_says_so_and_leaves_the_public_addresses(config, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(offline, "VENDOR", tmp_path)
    monkeypatch.setattr(offline, "logger", SimpleNamespace(info=said.append, warning=logging.error))
    offline.configure(None, config)
    assert said == ["book/_vendor is empty (no npm at set-up): widgets and formulas will need a public CDN"]
    assert config.mathjax_path == config.nb_ipywidgets_js == "public"
    assert str(tmp_path) not in config.html_static_path


def test_with_its_files_it_asks_no_other_server(config, tmp_path, monkeypatch):
    (tmp_path / "widgets").mkdir()
    (tmp_path / "widgets/embed-amd.js").touch()
    monkeypatch.setattr(offline, "VENDOR", tmp_path)
    monkeypatch.setattr(offline.subprocess, "run", lambda *a, **k: SimpleNamespace(returncode=0))     # the export
    offline.configure(None, config)
    assert str(tmp_path) in config.html_static_path
    assert config.mathjax_path == "mathjax/tex-mml-chtml.js"
    assert [name for name in config.nb_ipywidgets_js if "://" in name] == []
    assert config.nb_ipywidgets_js["widgets/embed-amd.js"] == {"data-jupyter-widgets-cdn": "about:blank#"}
