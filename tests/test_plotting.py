import matplotlib
import pytest
import torch

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

from mrilab.metrics import psnr
from mrilab.plotting import describe, show_slices, take_slice  # noqa: E402

VOLUME = torch.arange(4 * 6 * 8.0).reshape(4, 6, 8)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.mark.parametrize("plane, axis", [("axial", 0), ("coronal", 1), ("sagittal", 2)])
def test_slice_and_its_extent_in_mm(plane, axis):
    image, extent = take_slice(VOLUME, (3, 2, 1), plane, 1)
    assert torch.equal(image, VOLUME.select(axis, 1))
    height, width = (n * d for a, (n, d) in enumerate(zip(VOLUME.shape, (3, 2, 1))) if a != axis)
    assert extent == (0, width, 0, height)


def test_fraction_counts_along_the_axis_and_complex_gives_magnitude():
    image, _ = take_slice(VOLUME * 1j, (1, 1, 1), "axial", 0.99)
    assert torch.equal(image, VOLUME[3])


def test_shared_window_titles_and_error_maps():
    figure = show_slices([VOLUME, VOLUME + 2, VOLUME], ["a", "b", "truth"], (1, 1, 3), acceleration=8,
                         truth=VOLUME, window=(0, 100), error_gain=4)
    panels = [axis for axis in figure.axes if axis.images]
    assert len(panels) == 3 + 1              # no error map where there is no error
    assert {axis.images[0].get_clim() for axis in panels} == {(0, 100)}
    assert panels[0].get_title() == "a\n1 x 1 x 3 mm, R = 8"
    assert panels[-1].get_title() == f"error x 4\n{psnr(VOLUME + 2, VOLUME):.1f} dB"
    assert (panels[-1].images[0].get_array() == 8).all()
    assert panels[0].images[0].get_extent() == [0, 24, 0, 6]


def test_rows_of_slices_each_with_its_errors_below():
    figure = show_slices([VOLUME + i for i in range(5)], "abcde", (1, 1, 1), truth=VOLUME, columns=2)
    panels = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title().split("\n")[0] for axis in panels] == [
        "a", "b", "error x 5", "c", "d", "error x 5", "error x 5", "e", "error x 5"]
    place = {axis.get_title().split("\n")[0]: axis.get_subplotspec() for axis in panels}
    assert [(place[name].rowspan.start, place[name].colspan.start) for name in "abcde"] == [
        (0, 0), (0, 1), (2, 0), (2, 1), (4, 0)]


def test_arrows_end_at_their_voxels_in_mm():
    figure = show_slices([VOLUME] * 2, "ab", (3, 2, 1), plane=["axial", "sagittal"], points=[(1, 2, 3)])
    assert [[mark.xy for mark in axis.texts] for axis in figure.axes] == [[(3.5, 5)], [(5, 4.5)]]


def test_unknown_plane():
    with pytest.raises(ValueError, match="plane: found 'oblique', expected one of axial, coronal, sagittal"):
        take_slice(VOLUME, (1, 1, 1), "oblique")


def test_description():
    assert describe((2, 2, 2)) == "2 mm" and describe((1, 1, 1.3), 8) == "1 x 1 x 1.3 mm, R = 8"
