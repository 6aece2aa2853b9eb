"""The answers of a reader study: preference, agreement between readers, and intervals.

:class:`mrilab.widgets.ReaderStudy` asks the questions and writes one CSV file for each reader.
"""

import csv
import io
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

COLUMNS = ("study", "reader", "trial", "case", "left", "right", "answer", "confidence", "seconds")
ANSWERS = ("left", "equal", "right")
CONFIDENCE = {1: "a guess", 2: "fairly sure", 3: "sure"}


@dataclass(frozen=True)
class Preferences:
    """What the readers of a study preferred.

    Attributes
    ----------
    pairs : list of dict
        For each pair of methods, ``first`` and ``second`` in alphabetical order: ``answers``, ``cases``; ``share`` of
        the answers for ``first``, where *equal* counts one half, with its interval ``low``, ``high``; ``equal``, the
        share of such answers; mean ``confidence``; ``agreement``, how often two readers gave the same answer to a
        case; ``alpha``, the same beyond chance, with its interval ``alpha_low``, ``alpha_high``.
    readers : list of dict
        For each reader: ``reader``, ``answers``, ``left``, the share of answers for the left picture (one half if the
        side plays no role), and the median ``seconds`` of an answer.

    Examples
    --------
    >>> pair = dict(first="new", second="old", share=0.75, answers=40, low=0.6, high=0.87)
    >>> print(Preferences([pair], readers=[dict(reader="a", answers=40, left=0.5, seconds=3.0)]))
    1 reader
    new preferred to old: 75% of 40 answers [60%, 87%]
    """

    pairs: list[dict[str, Any]]
    readers: list[dict[str, Any]]

    def __str__(self) -> str:
        lines = [f"{len(self.readers)} reader{'s' * (len(self.readers) > 1)}"]
        for p in self.pairs:
            lines.append(f"{p['first']} preferred to {p['second']}: {p['share']:.0%} of {p['answers']} answers "
                         f"[{p['low']:.0%}, {p['high']:.0%}]")
            if len(self.readers) > 1:
                lines[-1] += f"; alpha {p['alpha']:.2f} [{p['alpha_low']:.2f}, {p['alpha_high']:.2f}]"
        return "\n".join(lines)


def preferences(paths: str | Path | Sequence[str | Path], confidence: float = 0.95, resamples: int = 2000,
                seed: int = 0) -> Preferences:
    """Preference shares and agreement from the CSV files of a reader study.

    Intervals are percentile bootstrap ones. That of a share draws the readers and the cases anew, both with
    replacement, since neither are all there could be (Owen 2007, "The pigeonhole bootstrap"). It errs to the safe
    side: of answers that have nothing in common it is up to 1.7 times too wide. With a single reader it draws the
    cases and speaks for that reader alone. Where all answers are alike nothing varies, and the interval is the exact
    one of a binomial share with one answer for each case. That of alpha draws the cases. With one case they are NaN.

    Parameters
    ----------
    paths : path or sequence of paths
        One file for each reader, as :class:`mrilab.widgets.ReaderStudy` saves them, all from one study. Readers may
        have answered a part of the pairs.
    confidence : float
    resamples, seed : int

    Returns
    -------
    Preferences

    Raises
    ------
    ValueError
        For a file that is missing, is no CSV of a reader study or has an entry that a study does not write; for files
        of different studies, or a reader who answered the same pair twice, as when two used one name.

    Examples
    --------
    >>> import tempfile
    >>> row = dict(study="s", trial=1, left="new", right="old", confidence=3, seconds=2.5)
    >>> paths = []
    >>> for reader, answers in (("simulated a", "left left"), ("simulated b", "left right")):
    ...     paths.append(Path(tempfile.mkdtemp()) / "answers.csv")
    ...     rows = [row | dict(reader=reader, case=i, answer=a) for i, a in enumerate(answers.split())]
    ...     _ = paths[-1].write_text(to_csv(rows))
    >>> pair, = preferences(paths).pairs
    >>> pair["first"], pair["share"], pair["agreement"]
    ('new', 0.75, 0.5)
    """
    rows = _read([paths] if isinstance(paths, (str, Path)) else list(paths))
    names = list(dict.fromkeys(row["reader"] for row in rows))
    found, generator = [], np.random.default_rng(seed)
    for first, second in sorted({tuple(sorted((row["left"], row["right"]))) for row in rows}):
        asked = [row for row in rows if {row["left"], row["right"]} == {first, second}]
        cases = list(dict.fromkeys(row["case"] for row in asked))
        table = np.full((len(names), len(cases)), np.nan)
        for row in asked:
            chosen = {"equal": 0.5, "left": row["left"] == first, "right": row["right"] == first}[row["answer"]]
            table[names.index(row["reader"]), cases.index(row["case"])] = chosen
        by_case = generator.multinomial(len(cases), np.full(len(cases), 1 / len(cases)), resamples)
        by_reader = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), resamples)
        share, bounds = float(np.nanmean(table)), _interval(_share(table, by_reader, by_case), confidence, len(cases))
        if share in (0, 1) and len(cases) > 1:
            most = 1 - ((1 - confidence) / 2) ** (1 / len(cases))
            bounds = {"low": share * (1 - most), "high": max(share, most)}
        found.append({
            "first": first, "second": second, "answers": len(asked), "cases": len(cases),
            "share": share, **bounds,
            "equal": float(np.mean(table[~np.isnan(table)] == 0.5)),
            "confidence": float(np.mean([row["confidence"] for row in asked])),
            "agreement": _agreement(table), "alpha": float(krippendorff_alpha(table)),
            **_interval(krippendorff_alpha(table, by_case), confidence, len(cases), "alpha_"),
        })
    return Preferences(found, [_describe(name, [row for row in rows if row["reader"] == name]) for name in names])


def krippendorff_alpha(table: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Agreement beyond chance: 1 if readers always agree, 0 if no more than by chance (Krippendorff's alpha).

    The distance between two answers is the square of their difference, so that *equal*, 0.5, lies between the two
    preferences, 0 and 1. Cases that fewer than two readers answered are left out. NaN if all answers are the same:
    then nothing tells agreement from habit.

    Parameters
    ----------
    table : ndarray
        ``(readers, cases)``, NaN where a reader gave no answer.
    weights : ndarray, optional
        ``(..., cases)``: how often each case counts.

    Returns
    -------
    ndarray
        ``(...)``.

    Examples
    --------
    >>> float(krippendorff_alpha(np.array([[1.0, 0, 1, 0], [1, 0, 1, 0]])))
    1.0
    >>> float(krippendorff_alpha(np.array([[1.0, 1, 0, 0], [1, 0, 1, 0]])))
    0.125
    """
    weights = np.ones(table.shape[1]) if weights is None else np.asarray(weights, float)
    given = ~np.isnan(table)
    values, number = np.where(given, table, 0), given.sum(0)
    counted = weights * (number > 1)
    total, squares = values.sum(0), (values**2).sum(0)

    def spread(n: Any, one: Any, two: Any) -> Any:
        """Sum over all ordered pairs of n values of their squared difference."""
        return 2 * (n * two - one**2)

    within = counted @ (spread(number, total, squares) / np.maximum(number - 1, 1))
    n, one, two = (counted @ x for x in (number, total, squares))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread(n, one, two) > 1e-12, 1 - within * (n - 1) / spread(n, one, two), np.nan)


def to_csv(rows: Iterable[dict[str, Any]]) -> str:
    """Answers, one dict of ``COLUMNS`` each, as the text of a CSV file.

    Examples
    --------
    >>> print(to_csv([dict.fromkeys(COLUMNS, 1)]).splitlines()[0])
    study,reader,trial,case,left,right,answer,confidence,seconds
    """
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _share(table: np.ndarray, by_reader: np.ndarray, by_case: np.ndarray) -> np.ndarray:
    given = ~np.isnan(table)
    total, count = (((by_reader @ x) * by_case).sum(1) for x in (np.where(given, table, 0), given.astype(float)))
    return np.divide(total, count, out=np.full(len(by_case), np.nan), where=count > 0)


def _interval(values: np.ndarray, confidence: float, cases: int, prefix: str = "") -> dict[str, float]:
    low, high = math.nan, math.nan
    if cases > 1 and not np.isnan(values).all():
        low, high = np.nanquantile(values, [(1 - confidence) / 2, (1 + confidence) / 2]).tolist()
    return {f"{prefix}low": low, f"{prefix}high": high}


def _agreement(table: np.ndarray) -> float:
    same = [a == b for a, b in itertools.combinations(table, 2)]
    both = [~np.isnan(a + b) for a, b in itertools.combinations(table, 2)]
    return float(np.sum(same) / np.sum(both)) if np.sum(both) else math.nan


def _describe(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    sides = [{"left": 1, "equal": 0.5, "right": 0}[row["answer"]] for row in rows]
    return {"reader": name, "answers": len(rows), "left": float(np.mean(sides)),
            "seconds": float(np.median([row["seconds"] for row in rows]))}


def _read(paths: Sequence[str | Path]) -> list[dict[str, Any]]:
    if not paths:
        raise ValueError("paths: found none, expected at least one CSV file of a reader study")
    rows: list[dict[str, Any]] = []
    seen: dict[tuple[str, ...], Path] = {}
    for path in map(Path, paths):
        try:
            text = path.read_text(encoding="utf-8-sig")         # a spreadsheet may have put a mark in front
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: found no readable text ({error}), expected a CSV file") from None
        head = text.partition("\n")[0]
        lines = csv.DictReader(io.StringIO(text, newline=""), delimiter=";" if ";" in head else ",")
        missing = [column for column in COLUMNS if column not in (lines.fieldnames or ())]
        if missing:
            raise ValueError(f"{path}: found no column {', '.join(missing)}, expected the CSV file of a reader study")
        answers = [_check(row, f"{path}, line {lines.line_num}") for row in lines]
        if not answers:
            raise ValueError(f"{path}: found no answers, expected at least one")
        for row in answers:
            key = (row["reader"], row["case"], *sorted((row["left"], row["right"])))
            if key in seen:
                raise ValueError(f"{path}: found a second answer of reader {key[0]!r} to case {key[1]!r}, {key[2]} "
                                 f"against {key[3]}, after one in {seen[key]}; expected one name for each reader")
            seen[key] = path
            if row["study"] != (rows or answers)[0]["study"]:
                raise ValueError(f"{path}: found answers to study {row['study']!r} beside those to "
                                 f"{(rows or answers)[0]['study']!r}, expected one study")
        rows += answers
    return rows


def _check(row: dict[str, Any], name: str) -> dict[str, Any]:
    for column in COLUMNS:
        if row[column] is None or not row[column].strip():
            raise ValueError(f"{name}: found no {column}, expected an entry in each column")
    if row["answer"] not in ANSWERS:
        raise ValueError(f"{name}: found answer {row['answer']!r}, expected one of {', '.join(ANSWERS)}")
    if row["left"] == row["right"]:
        raise ValueError(f"{name}: found {row['left']!r} on both sides, expected two methods")
    if row["confidence"] not in map(str, CONFIDENCE):
        raise ValueError(f"{name}: found confidence {row['confidence']!r}, expected 1, 2 or 3")
    try:
        seconds = float(row["seconds"])
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{name}: found seconds {row['seconds']!r}, expected a number that is not negative")
    return row | {"confidence": int(row["confidence"]), "seconds": seconds}
