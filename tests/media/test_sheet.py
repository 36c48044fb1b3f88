import io

import numpy as np
import pytest
from PIL import Image

from mmgraph.errors import DataError
from mmgraph.media.sheet import GAP, LETTER, LETTERS, contact_sheet


def opened(data):
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))


def test_each_picture_is_at_its_place_and_enlarged_by_a_whole_number():
    black, white = np.zeros((8, 8), dtype=np.uint8), np.full((8, 8), 250, dtype=np.uint8)
    red = np.zeros((8, 8, 3), dtype=np.uint8)
    red[..., 0] = 200
    sheet = opened(contact_sheet([[black, white], [None, red]], side=16))
    assert sheet.shape == (GAP + 2 * (16 + GAP), GAP + 2 * (16 + GAP), 3)
    first, second = slice(GAP, GAP + 16), slice(2 * GAP + 16, 2 * GAP + 32)
    assert (sheet[first, first] == 0).all()
    assert (sheet[first, second] == 250).all()
    assert (sheet[second, second] == (200, 0, 0)).all()
    assert (sheet[second, first] == 236).all()
    assert (sheet[:GAP] == 255).all()


def test_pixels_are_repeated_never_mixed():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7), dtype=np.uint8)
    sheet = opened(contact_sheet([[pixels]], side=21))
    np.testing.assert_array_equal(sheet[GAP : GAP + 15, GAP : GAP + 21, 0], pixels.repeat(3, 0).repeat(3, 1))
    assert opened(contact_sheet([[pixels]], side=3)).shape[:2] == (5 + 2 * GAP, 7 + 2 * GAP)


def test_names_are_written_beside_and_above_whatever_they_are():
    pixels = np.full((8, 8), 255, dtype=np.uint8)
    plain, named = (opened(contact_sheet([[pixels]], names=names)) for names in ((), ["a\nb \x00 " + "long " * 40]))
    wide = LETTER * (LETTERS + 1)
    assert named.shape[1] == plain.shape[1] + wide
    assert (named[:, :wide] < 128).any()
    assert (named[:, wide + GAP :] == 255).all()  # the name ends before the pictures
    assert (opened(contact_sheet([[pixels]], columns=["made"])) < 128).any()
    assert opened(contact_sheet([[pixels]], names=["Ω é 日"], columns=["ß"])).size


@pytest.mark.parametrize(
    ("rows", "names", "said"),
    [
        ([], [], r"got 0 pictures in 0 rows"),
        ([[None]], [], r"got 0 pictures in 1 rows"),
        ([[np.zeros((2, 2), dtype=np.uint8)]], ["a", "b"], r"1 pictures in 1 rows and 1 columns, with 2 and 0"),
        ([[np.zeros((2, 2))]], [], r"uint8, got \[2, 2\] of float64"),
        ([[np.zeros((2, 2, 4), dtype=np.uint8)]], [], r"got \[2, 2, 4\] of uint8"),
        ([[np.zeros((0, 2), dtype=np.uint8)]], [], r"got \[0, 2\] of uint8"),
    ],
)
def test_what_is_no_sheet_is_said(rows, names, said):
    with pytest.raises(DataError, match=said):
        contact_sheet(rows, names=names)
