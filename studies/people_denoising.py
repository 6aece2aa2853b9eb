"""How well each prior denoises the slices of four test people, from 1 to 4 mm and up to a noise level of 1.

As `denoising`; a person whose head is not at hand is left out, and said. At 1 mm only heads that are as sharp as that.
"""

from .denoising import rows_of
from .people import PEOPLE, SHARP, VALIDATION, here

RESULTS = ["people_denoising.json"]
NEEDS = []
SIGMAS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
SIZES = {"sharp": (1, [4, 1, 1]), "all": (1.5, 2, 3, 4)}


def study(run):
    rows = rows_of(run, here(SHARP), VALIDATION, SIZES["sharp"], SIGMAS)
    return dict(rows=rows + rows_of(run, here(PEOPLE), VALIDATION, SIZES["all"], SIGMAS))
