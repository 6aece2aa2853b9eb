"""The evaluation of a reader study against counts by hand, another formula for alpha, and observers of known habits."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from mrilab.reader_study import COLUMNS, krippendorff_alpha, preferences, to_csv

ROW = dict(study="study-1", reader="simulated a", trial=1, case="one", left="new", right="old", answer="left",
           confidence=2, seconds=1.5)


def written(folder, rows, name="answers.csv"):
    path = folder / name
    path.write_text(to_csv(rows), newline="")
    return path


def observer_rows(reader, generator, cases, chance):
    """Answers of an observer that prefers 'new' with this chance, on random sides."""
    rows = []
    for case in range(cases):
        sides = [("new", "old"), ("old", "new")][generator.integers(2)]
        chosen = "new" if generator.random() < chance else "old"
        rows.append(ROW | dict(reader=reader, case=f"case, {case}", left=sides[0], right=sides[1],
                               answer="left" if sides[0] == chosen else "right"))
    return rows


def test_counts_whatever_the_side(tmp_path):
    paths = [written(tmp_path, [ROW, ROW | dict(case="two", left="old", right="new", answer="right")], "a.csv"),
             written(tmp_path, [ROW | dict(reader="simulated b", answer="equal", confidence=1, seconds=0.5),
                                ROW | dict(reader="simulated b", case="two", answer="right")], "b.csv")]
    result = preferences(paths)
    (pair,) = result.pairs
    assert (pair["first"], pair["second"], pair["answers"], pair["cases"]) == ("new", "old", 4, 2)
    assert pair["share"] == pytest.approx((1 + 1 + 0.5 + 0) / 4)
    assert pair["equal"] == 0.25 and pair["agreement"] == 0 and pair["confidence"] == 1.75
    assert result.readers == [dict(reader="simulated a", answers=2, left=0.5, seconds=1.5),
                              dict(reader="simulated b", answers=2, left=0.25, seconds=1.0)]
    assert str(result).startswith("2 readers\nnew preferred to old: 62% of 4 answers [")


def test_alpha_is_its_definition():
    generator = np.random.default_rng(0)
    table = generator.choice([0, 0.5, 1, np.nan], (4, 9))
    units = [column[~np.isnan(column)] for column in table.T]
    units = [values for values in units if len(values) > 1]
    within = sum((a - b) ** 2 / (len(v) - 1) for v in units for a, b in itertools.permutations(v, 2))
    pooled = np.concatenate(units)
    chance = sum((a - b) ** 2 for a, b in itertools.permutations(pooled, 2)) / (len(pooled) - 1)
    assert krippendorff_alpha(table) == pytest.approx(1 - within / chance)
    doubled = np.concatenate([table, table[:, :1]], 1)
    assert krippendorff_alpha(table, [2] + [1] * 8) == pytest.approx(krippendorff_alpha(doubled))
    assert math.isnan(krippendorff_alpha(np.ones((3, 4))))


def test_readers_with_one_habit_agree_and_guessing_ones_do_not(tmp_path):
    generator = np.random.default_rng(1)
    truth = generator.random(60) < 0.7
    sure, guess = [], []
    for k in range(3):
        rows = observer_rows(f"simulated {k}", generator, 60, 0.7)
        guess.append(written(tmp_path, rows, f"guess{k}.csv"))
        for row, new in zip(rows, truth):
            row["answer"] = "left" if (row["left"] == "new") == new else "right"
        sure.append(written(tmp_path, rows, f"sure{k}.csv"))
    (same,), (chance,) = preferences(sure).pairs, preferences(guess).pairs
    assert same["alpha"] == 1 and same["agreement"] == 1
    assert same["share"] == pytest.approx(truth.mean())
    assert abs(chance["alpha"]) < 0.2 and chance["alpha_low"] < 0 < chance["alpha_high"]
    # the same 180 answers say less where all readers speak of the same 60 cases in one voice
    assert same["high"] - same["low"] > chance["high"] - chance["low"]


@pytest.mark.parametrize("new", [True, False])
def test_unanimity_in_few_cases_proves_little(new, tmp_path):
    rows = [ROW | dict(reader=f"simulated {k}", case=case, answer="left" if new else "right")
            for k in range(2) for case in "abcd"]
    (pair,) = preferences(written(tmp_path, rows)).pairs
    exact = stats.binomtest(4 * new, 4).proportion_ci(0.95, "exact")
    assert (pair["low"], pair["high"]) == pytest.approx((exact.low, exact.high))
    assert pair["agreement"] == 1 and math.isnan(pair["alpha"])


def test_interval_covers_as_often_as_it_says(tmp_path):
    """Of 60 studies with 3 guessing readers and 20 cases: at least 0.9 of the intervals hold the true chance."""
    generator = np.random.default_rng(2)
    held = []
    for _ in range(60):
        paths = [written(tmp_path, observer_rows(f"simulated {k}", generator, 20, 0.6), f"{k}.csv") for k in range(3)]
        (pair,) = preferences(paths, resamples=500).pairs
        held.append(pair["low"] <= 0.6 <= pair["high"])
        assert pair["low"] <= pair["share"] <= pair["high"]
    assert np.mean(held) >= 0.9


def test_one_reader_or_one_case_has_no_agreement_or_interval(tmp_path):
    (pair,) = preferences(written(tmp_path, [ROW])).pairs
    assert pair["share"] == 1
    assert all(math.isnan(pair[key]) for key in ("low", "high", "alpha", "alpha_low", "agreement"))
    assert "alpha" not in str(preferences(written(tmp_path, [ROW])))


def test_reads_what_a_spreadsheet_makes_of_it(tmp_path):
    path = tmp_path / "sheet.csv"
    path.write_text(to_csv([ROW]).replace(",", ";"), encoding="utf-8-sig")
    assert preferences(path).pairs[0]["share"] == 1


@pytest.mark.parametrize("rows, message", [
    ([], "found no answers"),
    ([ROW | dict(answer="A")], "line 2: found answer 'A', expected one of left, equal, right"),
    ([ROW | dict(confidence=4)], "line 2: found confidence '4', expected 1, 2 or 3"),
    ([ROW, ROW | dict(case="two", seconds="soon")], "line 3: found seconds 'soon'"),
    ([ROW | dict(seconds="nan")], "found seconds 'nan'"),
    ([ROW | dict(right="new")], "found 'new' on both sides"),
    ([ROW | dict(reader=" ")], "line 2: found no reader"),
    ([ROW, ROW | dict(left="old", right="new")], "found a second answer of reader 'simulated a' to case 'one'"),
    ([ROW, ROW | dict(study="study-2", case="two")], "found answers to study 'study-2' beside those to 'study-1'"),
])
def test_refuses_wrong_answers(rows, message, tmp_path):
    with pytest.raises(ValueError, match=f"answers.csv.*{message}"):
        preferences([written(tmp_path, rows)])


def test_refuses_what_is_no_study(tmp_path):
    with pytest.raises(ValueError, match="paths: found none"):
        preferences([])
    with pytest.raises(ValueError, match="nothing.csv: found no readable text"):
        preferences(tmp_path / "nothing.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=f"other.csv: found no column {', '.join(COLUMNS)}"):
        preferences(tmp_path / "other.csv")
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\xff")
    with pytest.raises(ValueError, match="picture.csv: found no readable text"):
        preferences(tmp_path / "picture.csv")
    short = to_csv([ROW]).replace(",1.5", "")
    (tmp_path / "short.csv").write_text(short)
    with pytest.raises(ValueError, match="short.csv, line 2: found no seconds"):
        preferences(tmp_path / "short.csv")
