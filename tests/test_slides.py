"""The slides of a chapter: what the rule takes from a built page, where the rest goes, and where links lead."""

import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
from slides import FOLDER, deck, main  # noqa: E402

# a chapter as Sphinx writes it, in short
PAGE = r"""<html><body><article><section id="sums"><h1>1. Sums<a class="headerlink" href="#sums">#</a></h1>
<p><a class="reference external" href="https://colab.research.google.com/x">Open this chapter in Colab</a></p>
<div class="admonition-in-this-chapter admonition"><p>You will learn sums.</p></div>
<section id="one"><h2>One</h2>
 <p>Words before, see <a href="#two">two</a> and <a href="glossary.html#term-sum">sum</a>.</p>
 <div class="important admonition"><p class="admonition-title">Statement 1</p><p>1 + 1 = 2.</p></div>
 <div class="math">\[no number\]</div>
 <div class="math" id="equation-eq-a"><span class="eqno">(1.1)</span>\[a\]</div>
 <p><strong>Predict</strong>: what is 2 + 2?</p>
 <div class="cell"><div class="cell_input"><pre>code</pre></div>
  <div class="cell_output"><img src="_images/a.png" alt="four"/></div></div>
 <p>Words after.</p></section>
<section id="two"><h2>Two</h2><p>Only words.</p><p>And more.</p>
 <section id="three"><h3>Three</h3><div class="cell"><div class="cell_output"><script>1</script>
  <div class="mri-still"><img src="_images/b.png" alt="still"/></div></div></div></section></section>
<section id="exercises"><h2>Exercises</h2>
 <div class="exercise admonition" id="e"><section id="exercise-content"><p>Add.</p></section></div>
 <div class="solution dropdown admonition"><section id="solution-content"><p>The sum is 4.</p>
  <div class="cell"><div class="cell_output"><img src="_images/s.png"/></div></div></section></div></section>
<section id="summary"><h2>Summary</h2><ul><li>Sums.</li></ul></section>
<section id="further-reading"><h2>Further reading</h2><p>Books.</p></section>
</section></article></body></html>"""


@pytest.fixture
def columns():
    soup = BeautifulSoup(deck(PAGE, "sums.html"), "html.parser")
    return [column.find_all("section", recursive=False) for column in soup.select(".slides > section")]


def notes(slide):
    return " ".join(slide.select_one("aside.notes").get_text().split())


def test_each_section_is_a_column_and_each_thing_a_slide(columns):
    assert [(column[0].find(["h1", "h2", "h3"]).get_text(), len(column)) for column in columns] == [
        ("1. Sums", 1), ("One", 4), ("Two", 1), ("Three", 1), ("Exercises", 1), ("Summary", 1)]
    statement, formula, prediction, figure = columns[1]
    assert statement.select_one(".important") and "1.1" in formula.get_text() and "Predict" in prediction.get_text()
    assert figure.img["alt"] == "four" and not figure.pre


def test_other_words_are_notes_of_the_slide_they_lead_to(columns):
    assert [notes(slide) for slide in columns[1]] == [
        "Words before, see two and sum.", "", "", "Words after."]
    assert columns[2][0].p.get_text() == "Only words." and notes(columns[2][0]) == "And more."


def test_solutions_and_literature_are_left_out(columns):
    text = "".join(str(slide) for column in columns for slide in column)
    assert "The sum is 4." not in text and "s.png" not in text and "Books." not in text
    assert "Add." in text and not any(slide.find("section") for column in columns for slide in column)


def test_links_and_pictures_are_found_from_the_folder_of_the_slides(columns):
    assert [a["href"] for a in columns[1][0].find_all("a")] == [
        "../../sums.html#two", "../../glossary.html#term-sum"]
    still = columns[3][0].img
    assert still["src"] == "../../_images/b.png" and still.parent["href"] == "../../sums.html#three"


def test_slides_are_written_once_and_linked_from_the_page(tmp_path, capsys):
    (tmp_path / "_static/reveal").mkdir(parents=True)
    (tmp_path / "01_sums.html").write_text(PAGE)
    (tmp_path / "glossary.html").write_text(PAGE)
    for _ in range(2):
        main(tmp_path)
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["01_sums.html"]
    link = f' · <a href="{FOLDER}/01_sums.html">Slides</a>'
    assert (tmp_path / "01_sums.html").read_text() == PAGE.replace("Colab</a>", f"Colab</a>{link}")
    assert (tmp_path / "glossary.html").read_text() == PAGE


def test_book_without_reveal_is_named(tmp_path):
    (tmp_path / "_static").mkdir()
    with pytest.raises(SystemExit, match="found no _static/reveal, expected a book that was built after `make env`"):
        main(tmp_path)
