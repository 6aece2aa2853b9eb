"""Which of two images is better? A blinded comparison that anyone can run."""

import itertools
import zlib

import numpy as np
import traitlets

from ..reader_study import ANSWERS, COLUMNS, CONFIDENCE, to_csv
from .base import Widget, check_images, check_spacing, draw_row, grey_range, sources, to_bytes


class ReaderStudy(Widget):
    """Pairs of images in random order and on random sides, without their names: which is better, and how sure is that?

    Each pair of methods of each case is asked once. A reader answers with the keys A, E or B, then 1, 2 or 3, with
    the mouse or by touch, and saves the answers as a CSV file, on a page without a kernel too.
    :func:`mrilab.reader_study.preferences` evaluates the files of several readers. The order and the sides depend on
    the name that a reader gives.

    Parameters
    ----------
    cases : sequence of dict
        Each with ``case``, its name; ``images``, a dict of at least two named images ``(height, width)`` of the same
        slice, complex ones giving their magnitude; the in-plane ``voxel_size`` ``(height, width)`` in mm; and, if it is
        to be shown beside, the ``truth``. What is compared is up to the names: methods, priors, accelerations.
    seed : int
        Of the order and the sides.

    Attributes
    ----------
    csv : str
        The answers so far as the text of the CSV file, in Jupyter and Colab.

    Raises
    ------
    ValueError
        For no case, two cases of one name, a case that lacks an entry or has fewer than two images, images of different
        shapes or with NaN, or a wrong voxel size.

    Examples
    --------
    >>> import torch
    >>> cases = [dict(case=f"slice {i}, R = 8", voxel_size=(2, 2), truth=torch.ones(6, 8),
    ...               images={"CG-SENSE": torch.rand(6, 8), "diverse": torch.rand(6, 8)}) for i in range(3)]
    >>> study = ReaderStudy(cases)
    >>> study
    ReaderStudy: 3 pairs of images of 3 cases, in random order and without names: which is better?
    >>> text = study.simulate(lambda left, right, truth: ("left", 1), "always left")
    >>> text.splitlines()[1].split(",")[1]
    'simulated always left'
    """

    _esm = sources("js", "core", "reader_study")
    _css = sources("css", "core", "reader_study")
    csv = traitlets.Unicode().tag(sync=True)

    def __init__(self, cases, seed=0):
        cases = [_check_case(case, f"cases[{i}]") for i, case in enumerate(cases)]
        if not cases:
            raise ValueError("cases: found none, expected at least one")
        names = [case["case"] for case in cases]
        if len(set(names)) < len(names):
            raise ValueError(f"cases: found the names {', '.join(names)}, expected each once")
        arrays, described, pairs = [], [], []
        for n, case in enumerate(cases):
            low, high = grey_range(list(case["arrays"].values()))
            arrays += [to_bytes(image, low, high) for image in case["arrays"].values()]
            methods = [name for name in case["arrays"] if name != "truth"]
            described.append({"case": case["case"], "methods": methods, "truth": "truth" in case["arrays"], "low": low,
                              "high": high, "shape": list(arrays[-1].shape), "spacing": list(case["spacing"])})
            pairs += [[n, i, j] for i, j in itertools.combinations(range(len(methods)), 2)]
        self._arrays = [case["arrays"] for case in cases]
        fingerprint = zlib.crc32(b"".join([array.tobytes() for array in arrays] + [repr(described).encode()]))
        meta = {"cases": described, "pairs": pairs, "study": f"study-{fingerprint:08x}", "seed": seed,
                "columns": list(COLUMNS), "confidence": {str(k): words for k, words in CONFIDENCE.items()}}
        title = (f"{len(pairs)} pair{'s' * (len(pairs) > 1)} of images of {len(cases)} case{'s' * (len(cases) > 1)}, "
                 "in random order and without names: which is better?")
        super().__init__(arrays, meta, title)

    def simulate(self, observer, name, seed=0):
        """What a simulated observer answers, as the text of a CSV file.

        Parameters
        ----------
        observer : callable
            ``observer(left, right, truth)`` gets float32 arrays ``(height, width)``, ``truth`` is None where the study
            has none. It returns its answer, ``"left"``, ``"equal"`` or ``"right"``, and its confidence, 1, 2 or 3.
        name : str
            The reader's entry becomes ``"simulated <name>"``: nobody shall take it for a person.
        seed : int
            Of the order and the sides.

        Returns
        -------
        str

        Raises
        ------
        ValueError
            For an answer or a confidence that is none.
        """
        generator, rows = np.random.default_rng(seed), []
        for trial, n in enumerate(generator.permutation(len(self.meta["pairs"]))):
            case, *sides = self.meta["pairs"][n]
            left, right = (self.meta["cases"][case]["methods"][i] for i in generator.permutation(sides))
            images = self._arrays[case]
            answer, confidence = observer(images[left], images[right], images.get("truth"))
            if answer not in ANSWERS or confidence not in CONFIDENCE:
                raise ValueError(f"observer: found {(answer, confidence)}, expected one of {', '.join(ANSWERS)} and a "
                                 "confidence of 1, 2 or 3")
            values = (self.meta["study"], f"simulated {name}", trial + 1, self.meta["cases"][case]["case"], left, right,
                      answer, confidence, 0)
            rows.append(dict(zip(COLUMNS, values)))
        return to_csv(rows)

    def still(self, figure):
        case, i, j = self.meta["pairs"][0]
        images, entry = self._arrays[case], self.meta["cases"][case]
        shown = {"A": images[entry["methods"][i]], "B": images[entry["methods"][j]]}
        shown |= {"truth": images["truth"]} if entry["truth"] else {}
        draw_row(figure, [(image, entry["spacing"], name, 0, entry["high"]) for name, image in shown.items()])


def _check_case(case, name):
    """A case with its images as arrays, the truth last, or ValueError."""
    missing = [key for key in ("case", "images", "voxel_size") if case.get(key) is None]
    if missing:
        raise ValueError(f"{name}: found no {', '.join(missing)}, expected one entry each")
    images = case["images"]
    if not isinstance(images, dict) or len(images) < 2 or "truth" in images:
        raise ValueError(f"{name}['images']: found {images!r:.60}, expected a dict of at least two named images, and "
                         "the truth as an entry of its own")
    truth = {} if case.get("truth") is None else {"truth": case["truth"]}
    return {"case": str(case["case"]), "spacing": check_spacing(case["voxel_size"]),
            "arrays": check_images(images | truth, f"{name}['images']", 2, "(height, width)")}
