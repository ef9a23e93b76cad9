"""Stain against arithmetic by hand and scikit-image's colour deconvolution."""

import numpy as np
import pytest
from skimage.color import combine_stains, separate_stains

from bcc_lightning.datasets.smear_painter import paint_cells
from bcc_lightning.transforms.stain import SlightDefocus, StainJitter, change_stains

EOSIN = np.array([0.092789, 0.954111, 0.283111])
METHYLENE_BLUE = np.array([0.834750, 0.513556, 0.196330])


def test_no_change_of_stain_changes_no_level_by_more_than_one() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert np.abs(change_stains(image, 1, 1).astype(int) - image).max() <= 1


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.6])
@pytest.mark.parametrize(("stain", "own"), [(EOSIN, "red"), (METHYLENE_BLUE, "blue")])
def test_more_stain_multiplies_the_optical_density(stain: np.ndarray, own: str, factor: float) -> None:
    amounts = np.linspace(0.1, 1.0, 10)
    image = np.rint(255 * np.exp(-amounts[:, None] * stain)).astype(np.uint8)[None]
    other = "blue" if own == "red" else "red"
    # light that passes is exp(-amount * density): `factor` times the amount is the light to the power of `factor`
    expected = 255 * (image / 255) ** factor
    np.testing.assert_allclose(change_stains(image, **{own: factor, other: 1.0}), expected, atol=1.6)
    np.testing.assert_allclose(change_stains(image, **{own: 1.0, other: factor}), image, atol=1.6)


def test_stains_agree_with_scikit_image() -> None:
    image = paint_cells(np.array([1]), 64, 0.3, seed=0)[0].clip(1)
    blue, red = (stain / np.linalg.norm(stain) for stain in (METHYLENE_BLUE, EOSIN))
    residual = np.cross(blue, red)
    mixing = np.stack([blue, red, residual / np.linalg.norm(residual)])
    amounts = separate_stains(image, np.linalg.inv(mixing))
    inside = (amounts > 0).all(axis=2)  # scikit-image cuts off negative amounts
    expected = 255 * combine_stains(amounts * np.array([1.3, 0.8, 1.0]), mixing)
    assert inside.mean() > 0.2
    np.testing.assert_allclose(change_stains(image, 1.3, 0.8)[inside], expected[inside], atol=1.1)


def test_white_stays_white_and_black_stays_dark() -> None:
    white = np.full((4, 4, 3), 255, np.uint8)
    np.testing.assert_array_equal(change_stains(white, 0.3, 3.0), white)
    assert change_stains(np.zeros((4, 4, 3), np.uint8), 1.4, 1.4).max() <= 1


def test_factors_lie_in_their_range_and_halving_is_as_frequent_as_doubling() -> None:
    jitter = StainJitter(blue=(0.5, 2.0), red=(1.0, 1.0), p=1.0)
    jitter.set_random_seed(0)
    factors = [jitter.get_params() for _ in range(2000)]
    blue = np.array([each["blue"] for each in factors])
    assert all(each["red"] == 1.0 for each in factors)
    assert 0.5 <= blue.min() < 0.51
    assert 1.96 < blue.max() <= 2.0
    assert (blue < 1).mean() == pytest.approx(0.5, abs=0.05)


def test_defocus_is_in_proportion_to_the_image() -> None:
    widths = []
    for size in (32, 128):
        image = np.zeros((size, size, 3), np.uint8)
        image[:, size // 2 :] = 255
        edge = SlightDefocus((0.05, 0.05), p=1.0)(image=image)["image"][size // 2, :, 0]
        widths.append(((edge > 25) & (edge < 230)).sum() / size)
    assert widths[0] == pytest.approx(widths[1], abs=0.05)
    sharp = SlightDefocus((0.0, 0.0), p=1.0)(image=image)["image"]
    np.testing.assert_array_equal(sharp, image)
