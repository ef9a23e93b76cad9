"""The painted smear: repeatable images, clear refusals, and cells that differ the way the textbook says."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

from bcc_lightning.datasets.classes import EIGHT_CELL_CLASSES
from bcc_lightning.datasets.smear_painter import RECIPES, paint_cells

Images = npt.NDArray[np.uint8]
MIXED = np.arange(24, dtype=np.int64) % 8
VALID: dict[str, Any] = {"labels": MIXED, "size": 32, "difficulty": 0.5, "seed": 0}


def textbook(name: str, count: int = 12) -> Images:
    """Paint clean cells of one class at 96 pixels."""
    labels = np.full(count, EIGHT_CELL_CLASSES.index(name), dtype=np.int64)
    return paint_cells(labels, size=96, difficulty=0.0, seed=7)


def dark_masks(name: str, below: int) -> list[Images]:
    """Return for each textbook cell of a class a 0/1 mask of the pixels whose grey value lies below a threshold."""
    return [(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) < below).astype(np.uint8) for image in textbook(name)]


def dark_area(name: str, below: int = 90) -> float:
    """Return the mean share of dark pixels in the textbook images of a class."""
    return float(np.mean(dark_masks(name, below)))


def solidity(name: str, below: int) -> float:
    """Return the median ratio of a nucleus' area to the area of its convex hull: 1 for round, less when notched."""
    ratios = []
    for mask in dark_masks(name, below):
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        nucleus = max(contours, key=cv2.contourArea)
        ratios.append(cv2.contourArea(nucleus) / cv2.contourArea(cv2.convexHull(nucleus)))
    return float(np.median(ratios))


def histogram_accuracy(difficulty: float) -> float:
    """Train a linear classifier on colour histograms of 400 cells and return its accuracy on 200 others."""
    labels = np.arange(600, dtype=np.int64) % 8
    images = paint_cells(labels, size=32, difficulty=difficulty, seed=1)
    histograms = [[np.histogram(image[..., c], 12, (0, 256))[0] for c in range(3)] for image in images]
    features = np.sqrt(np.reshape(histograms, (600, 36)))
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    classifier.fit(features[:400], labels[:400])
    return float(classifier.score(features[400:], labels[400:]))


def test_class_names_follow_the_label_order() -> None:
    """The labels mean the eight classes in the agreed order."""
    assert EIGHT_CELL_CLASSES == (
        "basophil", "eosinophil", "erythroblast", "ig", "lymphocyte", "monocyte", "neutrophil", "platelet",
    )  # fmt: skip


def test_every_look_alike_is_another_class() -> None:
    """No recipe is pulled towards itself or towards a class that does not exist."""
    for name, recipe in RECIPES.items():
        assert recipe.look_alike in RECIPES
        assert recipe.look_alike != name


@pytest.mark.parametrize("size", [16, 33, 512])
def test_images_are_rgb_bytes_of_the_requested_size(size: int) -> None:
    """Even, odd and extreme sizes give uint8 RGB images."""
    images = paint_cells(MIXED[:2], size=size, difficulty=1.0, seed=0)
    assert images.shape == (2, size, size, 3)
    assert images.dtype == np.uint8
    assert images.std() > 5


def test_no_labels_give_no_images() -> None:
    """An empty request is answered with an empty array of the right shape."""
    assert paint_cells(MIXED[:0], size=32, difficulty=0.5, seed=0).shape == (0, 32, 32, 3)


def test_same_request_gives_same_images_and_another_seed_does_not() -> None:
    """The seed decides, whatever numpy's global random state is."""
    np.random.seed(0)  # noqa: NPY002
    first = paint_cells(**VALID)
    np.testing.assert_array_equal(first, paint_cells(**VALID))
    assert (first != paint_cells(**{**VALID, "seed": 1})).any(axis=(1, 2, 3)).all()


def test_global_random_state_is_not_moved() -> None:
    """A caller's own draws are the same with and without painting in between."""
    np.random.seed(0)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    paint_cells(**VALID)
    assert np.random.random() == expected  # noqa: NPY002


def test_longer_request_begins_with_the_shorter_one() -> None:
    """Asking for more images never changes the earlier ones."""
    np.testing.assert_array_equal(paint_cells(**{**VALID, "labels": MIXED[:9]}), paint_cells(**VALID)[:9])


def test_image_depends_on_its_own_label_only() -> None:
    """Changing one label repaints that image and no other."""
    changed = MIXED.copy()
    changed[5] = 0
    differs = (paint_cells(**VALID) != paint_cells(**{**VALID, "labels": changed})).any(axis=(1, 2, 3))
    assert differs.nonzero()[0].tolist() == [5]


def test_another_size_shows_the_same_cells() -> None:
    """A large image shrinks to the small image of the same cell far more closely than to that of its neighbour."""
    small = paint_cells(MIXED, size=32, difficulty=0.0, seed=3).astype(np.float32)
    large = paint_cells(MIXED, size=128, difficulty=0.0, seed=3)
    shrunk = np.stack([cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA) for image in large])
    assert np.abs(shrunk - small).mean() < 0.3 * np.abs(shrunk - np.roll(small, 8, axis=0)).mean()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 15}, "size holds 15; allowed are 16 to 512"),
        ({"size": 513}, "size holds 513; allowed are 16 to 512"),
        ({"difficulty": -0.1}, "difficulty holds -0.1; allowed are 0 to 1"),
        ({"difficulty": 1.5}, "difficulty holds 1.5; allowed are 0 to 1"),
        ({"difficulty": float("nan")}, "difficulty holds nan; allowed are 0 to 1"),
        ({"seed": -1}, "seed holds -1; allowed are 0 to inf"),
        ({"labels": np.array([3, 8, 1])}, "labels holds 8; allowed are 0 to 7"),
        ({"labels": np.array([3, -2, 1])}, "labels holds -2; allowed are 0 to 7"),
        ({"labels": np.zeros((2, 3), dtype=np.int64)}, r"labels has shape \(2, 3\); it must have one dimension"),
    ],
)
def test_bad_request_is_refused_with_value_and_range(change: dict[str, Any], message: str) -> None:
    """Every refusal names the argument, its value and what is allowed."""
    with pytest.raises(ValueError, match=message):
        paint_cells(**{**VALID, **change})


def test_classes_are_separable_when_easy_and_overlap_when_hard() -> None:
    """Colour histograms tell textbook cells apart, and clearly less so the hard ones."""
    easy, hard = histogram_accuracy(0.2), histogram_accuracy(1.0)
    assert easy > 0.9
    assert 0.4 < hard < easy - 0.1


def test_lymphocyte_centre_is_darker_than_its_corner() -> None:
    """The dense nucleus fills the middle; the corner shows pale background or a red blood cell."""
    images = textbook("lymphocyte").astype(np.float64)
    assert (images[:, 48, 48].mean(axis=1) < images[:, 2, 2].mean(axis=1) - 60).all()


def test_dark_areas_rank_as_at_the_microscope() -> None:
    """A platelet has no nucleus, an erythroblast a small one, a lymphocyte a large one."""
    assert dark_area("lymphocyte") > 2 * dark_area("erythroblast") > 0
    assert dark_area("lymphocyte") > 10 * dark_area("platelet")


def test_nuclei_have_their_shapes() -> None:
    """Round in erythroblast and lymphocyte, indented in the monocyte, in segments in the neutrophil."""
    assert min(solidity("erythroblast", 90), solidity("lymphocyte", 90)) > 0.94
    assert solidity("monocyte", 140) < 0.92
    assert solidity("neutrophil", 90) < 0.8


def test_every_lymphocyte_has_exactly_one_nucleus() -> None:
    """The random rounding of the lobe count never drops or doubles a round nucleus."""
    labels = np.full(300, EIGHT_CELL_CLASSES.index("lymphocyte"), dtype=np.int64)
    images = paint_cells(labels, size=32, difficulty=0.0, seed=2)
    share = (images.mean(axis=3) < 115).mean(axis=(1, 2))
    assert share.min() > 0.7 * np.median(share)
    assert share.max() < 1.3 * np.median(share)


def test_eosinophil_granules_are_the_reddest() -> None:
    """Averaged over the middle of the image, red exceeds blue most in the eosinophil."""
    middles = {name: textbook(name)[:, 24:72, 24:72].astype(np.float64).mean(axis=(0, 1, 2)) for name in EIGHT_CELL_CLASSES}
    assert max(middles, key=lambda name: middles[name][0] - middles[name][2]) == "eosinophil"


def test_cells_have_their_sizes() -> None:
    """The violet and blue part of the image ranks monocyte, lymphocyte, platelet."""
    area = {
        name: float((textbook(name)[..., 2] > textbook(name)[..., 0]).mean()) for name in ("monocyte", "lymphocyte", "platelet")
    }
    assert area["monocyte"] > 1.8 * area["lymphocyte"]
    assert area["lymphocyte"] > 3 * area["platelet"] > 0
