"""The faults of MedMNIST-C against the libraries by which its authors define them, and the figures made of the errors."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from skimage.color import hsv2rgb, rgb2hsv

from bcc_lightning.datasets.smear_painter import paint_cells
from bcc_lightning.evaluation.corruptions import ALEXNET_CLEAN, CORRUPTIONS, Pixels, Robustness, measure_robustness

CELLS = paint_cells(np.arange(4), 224, 0.2, 1)
BY_NAME = {one.name: one for one in CORRUPTIONS}


def pillow_pixelate(image: Image.Image, share: float) -> Image.Image:
    few = image.resize((int(224 * share), int(224 * share)), Image.Resampling.BOX)
    return few.resize((224, 224), Image.Resampling.BOX)


def pillow_jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


def skimage_saturate(image: Image.Image, addition: float) -> Image.Image:
    hsv = rgb2hsv(np.array(image) / 255)
    hsv[..., 1] = np.clip(hsv[..., 1] + addition, 0, 1)
    return Image.fromarray((hsv2rgb(hsv) * 255).astype(np.uint8))


REFERENCES: dict[str, Any] = {
    "pixelate": pillow_pixelate,
    "jpeg": pillow_jpeg,
    "brightness up": lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
    "brightness down": lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
    "contrast up": lambda image, factor: ImageEnhance.Contrast(image).enhance(factor),
    "contrast down": lambda image, factor: ImageEnhance.Contrast(image).enhance(factor),
    "saturate": skimage_saturate,
}


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("severity", [1, 5])
def test_faults_are_those_of_the_libraries(name: str, severity: int) -> None:
    one = BY_NAME[name]
    found = one(CELLS, severity).astype(int)
    theirs = np.stack([np.array(REFERENCES[name](Image.fromarray(cell), one.strengths[severity - 1])) for cell in CELLS]).astype(
        int
    )
    assert np.abs(found - theirs).mean() < 1.0  # levels between two may be rounded to either


@pytest.mark.parametrize("one", CORRUPTIONS, ids=lambda one: one.name)
def test_each_severity_changes_more_than_the_one_before(one: Any) -> None:
    changes = [np.abs(one(CELLS, severity).astype(int) - CELLS).mean() for severity in (1, 3, 5)]
    assert 0 < changes[0] < changes[1] < changes[2] * 1.35  # deposits and bubbles are drawn: their numbers vary
    assert one(CELLS, 2).dtype == np.uint8
    assert np.array_equal(one(CELLS, 3), one(CELLS, 3))
    small = one(CELLS[:, ::8, ::8], 5)
    assert small.shape == (4, 28, 28, 3)


def test_blur_keeps_the_light_and_spreads_a_point() -> None:
    dot = np.zeros((1, 224, 224, 3), np.uint8)
    dot[0, 110:114, 110:114] = 255
    for name in ("defocus", "motion"):
        blurred = BY_NAME[name](dot, 5)
        assert blurred.sum() == pytest.approx(dot.sum(), rel=0.1)
        assert (blurred > 0).sum() > 3 * (dot > 0).sum()
    # A disc of 6 pixels' radius around a square of 4: at most 16 x 16 pixels, and those in the corners stay dark.
    lit = np.argwhere(BY_NAME["defocus"](dot, 5)[0, ..., 0])
    assert (lit.max(0) - lit.min(0) + 1).max() <= 4 + 2 * 7


def test_errors_are_averaged_and_divided_by_those_of_alexnet() -> None:
    """A network that is wrong on one of two classes everywhere: its balanced error is 0.5 with and without faults."""
    found = measure_robustness(CELLS[..., ::4, ::4, :], np.array([0, 0, 0, 1]), lambda shown: np.zeros(len(shown), np.int64))
    assert found.clean == 0.5
    assert all(errors == [0.5] * 5 for errors in found.errors.values())
    assert found.relative_balanced_error() == dict.fromkeys(BY_NAME, 0.0)
    assert found.as_dict()["BE"] == pytest.approx(np.mean([0.5 / one.alexnet for one in CORRUPTIONS]))
    # AlexNet itself has 1 in both.
    alexnet = Robustness(ALEXNET_CLEAN, {one.name: [one.alexnet] * 5 for one in CORRUPTIONS}).as_dict()
    assert (alexnet["BE"], alexnet["rBE"]) == (pytest.approx(1), pytest.approx(1))


def test_the_network_sees_each_fault_at_each_severity() -> None:
    seen: list[Pixels] = []

    def classify(shown: Pixels) -> np.ndarray[Any, np.dtype[np.int64]]:
        seen.append(shown)
        return np.array([0, 0, 1, 1])

    measure_robustness(CELLS[:, ::8, ::8], np.array([0, 0, 1, 1]), classify)
    assert len(seen) == 1 + 5 * 11
    assert np.array_equal(seen[0], CELLS[:, ::8, ::8])
