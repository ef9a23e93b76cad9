"""RandAugment and AugMix: their operations against Pillow and arithmetic by hand, their draws against their definitions."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from bcc_lightning.datasets.smear_painter import paint_cells
from bcc_lightning.transforms import operations as op
from bcc_lightning.transforms.operations import Pixels
from bcc_lightning.transforms.rand_augment import AUGMIX, NORMAL, RAND_AUGMENT, UNIFORM, AugMix, RandAugment


@pytest.fixture
def cell() -> Pixels:
    return paint_cells(np.array([1]), 48, 0.3, seed=0)[0]


def test_operations_agree_with_pillow(cell: Pixels) -> None:
    image = Image.fromarray(cell)
    for ours, theirs, tolerance in (
        (op.auto_contrast(cell), ImageOps.autocontrast(image), 1),
        (op.posterize(cell, 3), ImageOps.posterize(image, 3), 0),
        (op.solarize(cell, 128), ImageOps.solarize(image, 128), 0),
        (NORMAL["fade"](cell, 0.4), ImageEnhance.Color(image).enhance(0.6), 2),
    ):
        assert np.abs(ours.astype(int) - np.asarray(theirs)).max() <= tolerance


def test_contrast_and_brightness_by_hand() -> None:
    image = np.array([[[100, 0, 50], [200, 0, 150]]], np.uint8)  # means 150, 0 and 100
    assert op.contrast(image, 0.5).tolist() == [[[125, 0, 75], [175, 0, 125]]]
    assert op.contrast(image, 1.5).tolist() == [[[75, 0, 25], [225, 0, 175]]]
    assert op.brightness(image, 0.2).tolist() == [[[151, 51, 101], [251, 51, 201]]]  # 0.2 * 255 = 51
    assert op.brightness(image, -0.4).tolist() == [[[0, 0, 0], [98, 0, 48]]]


def test_equalize_by_hand() -> None:
    image = np.repeat(np.array([[10, 10, 20, 40]], np.uint8)[..., None], 3, axis=2)
    # of the two pixels above the lowest level, none, one and both lie at or below: 0, 1/2 and 1 of 255
    assert RAND_AUGMENT["equalize"](image, 0)[0, :, 0].tolist() == [0, 0, 128, 255]


def test_solarize_adds_before_it_inverts() -> None:
    image = np.array([[[10, 100, 200]]], np.uint8)
    assert op.solarize(image, threshold=128, addition=40).tolist() == [[[50, 255 - 140, 255 - 240]]]


def test_shear_shift_and_turn_by_hand() -> None:
    image = np.zeros((41, 41, 3), np.uint8)
    image[30, 20] = 255  # ten rows below the centre
    for moved, place in (
        (op.shear(image, 0.5, 0), (30, 25)),
        (op.shear(image, 0, 0.5), (30, 20)),
        (op.translate(image, 4 / 41, 0), (30, 24)),
        (op.translate(image, 0, -4 / 41), (26, 20)),
        (op.rotate(image, 90), (20, 30)),
    ):
        assert tuple(map(int, np.argwhere(moved[..., 0] > 200)[0])) == place


def test_no_strength_changes_nothing(cell: Pixels) -> None:
    for operation in (*UNIFORM.values(), *(NORMAL[name] for name in ("fade", "shear_x", "shear_y"))):
        assert np.abs(operation(cell, 0.0).astype(int) - cell).max() <= 1


def test_strengths_have_the_stated_distributions() -> None:
    transform = RandAugment(magnitude=0.3, magnitude_std=0.15, augmentations=10)
    transform.set_random_seed(0)
    drawn: dict[str, list[float]] = {name: [] for name in RAND_AUGMENT}
    for _ in range(2000):
        for name, strength in transform.get_params()["steps"]:
            drawn[name].append(strength)
    counts = np.array([len(strengths) for strengths in drawn.values()])
    assert np.abs(counts - 2000).max() < 5 * np.sqrt(20_000 * 0.1 * 0.9)
    shear, shift = np.array(drawn["shear_x"]), np.array(drawn["translate_x"])
    # clipping at 0, two standard deviations below the mean, lifts the mean by 0.15 * (0.05399 - 2 * 0.02275) = 0.0013
    assert np.abs(shear).mean() == pytest.approx(0.3013, abs=0.015)
    assert (shear > 0).mean() == pytest.approx(0.5, abs=0.06)
    assert np.abs(shift).max() <= 0.3
    assert np.abs(shift).mean() == pytest.approx(0.15, abs=0.01)


def test_without_geometry_nothing_moves() -> None:
    assert set(RandAugment(geometric=False).names) == {
        "auto_contrast",
        "equalize",
        "solarize",
        "fade",
        "contrast",
        "brightness",
    }


def test_augmix_is_the_stated_mixture() -> None:
    image = np.full((4, 4, 3), 200, np.uint8)
    invert = [("solarize", 1.0)]  # a threshold of 0 inverts all levels
    twice = invert * 2
    mixed = AugMix().apply(image, kept=0.5, chains=[(0.3, invert), (0.2, twice)])
    assert mixed.tolist() == np.full((4, 4, 3), round(0.5 * 200 + 0.3 * 55 + 0.2 * 200)).tolist()  # 156.5 to the even 156


def test_augmix_draws_chains_as_stated() -> None:
    transform = AugMix(severity=0.4, chains=4, depth=(2, 3))
    transform.set_random_seed(0)
    draws = [transform.get_params() for _ in range(300)]
    for each in draws:
        assert each["kept"] + sum(share for share, _ in each["chains"]) == pytest.approx(1)
        assert len(each["chains"]) == 4
    lengths = {len(steps) for each in draws for _, steps in each["chains"]}
    strengths = [strength for each in draws for _, steps in each["chains"] for _, strength in steps]
    used = {name for each in draws for _, steps in each["chains"] for name, _ in steps}
    assert lengths == {2, 3}
    assert 0.39 < max(np.abs(strengths)) <= 0.4
    assert used == set(AUGMIX)
