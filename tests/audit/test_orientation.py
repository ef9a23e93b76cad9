"""Comparison of pictures: orientation, even areas, colours; probes against colours planted into the border."""

import numpy as np
import pytest

from bcc_lightning.audit.cells import border_quantiles, scan
from bcc_lightning.audit.duplicates import find_copies, near_groups
from bcc_lightning.audit.orientation import SIDE, invariants, oriented, reduce, similarity
from bcc_lightning.audit.shortcuts import probe_shortcuts
from bcc_lightning.datasets.smear_painter import paint_cells
from tests.audit.test_odd_sets import array_cells

CELLS = paint_cells(np.arange(8), SIDE, 0.3, seed=1)


def test_invariants_do_not_change_under_turns_and_flips() -> None:
    expected = invariants(CELLS)
    for turned in oriented(CELLS):
        np.testing.assert_allclose(invariants(np.ascontiguousarray(turned)), expected, atol=1e-5)


def test_similarity_names_each_orientation() -> None:
    for number, turned in enumerate(oriented(CELLS)):
        score, orientation = similarity(CELLS, np.ascontiguousarray(turned))
        assert score == pytest.approx(np.ones(8), abs=1e-5)
        assert orientation.tolist() == [number] * 8


def test_similarity_is_the_correlation_of_the_pixels() -> None:
    score, _ = similarity(CELLS[:1], CELLS[1:2])
    best = max(np.corrcoef(turned[0].ravel(), CELLS[1].ravel())[0, 1] for turned in oriented(CELLS[:1]))
    same_mean = np.abs(CELLS[0].mean(axis=(0, 1)) - CELLS[1].mean(axis=(0, 1))).max() <= 10
    assert score[0] == pytest.approx(best * same_mean, abs=1e-5)


def test_even_areas_are_the_same_only_in_the_same_colour() -> None:
    areas = np.zeros((3, SIDE, SIDE, 3), np.uint8)
    areas[:2], areas[2] = (200, 30, 30), (150, 60, 60)
    score, _ = similarity(areas[[0, 0]], areas[[1, 2]])
    assert score.tolist() == [1.0, 0.0]


def test_a_group_larger_than_the_neighbourhood_stays_one_group() -> None:
    rng = np.random.default_rng(0)
    noisy = np.clip(CELLS[:1].astype(int) + rng.integers(-3, 4, (60, SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
    groups = near_groups(np.concatenate([CELLS[1:], noisy]))
    assert [group.tolist() for group in groups] == [list(range(7, 67))]


def test_copies_of_copies_share_one_group_and_the_middle_one_leads() -> None:
    rng = np.random.default_rng(0)
    step = rng.integers(-12, 13, CELLS[0].shape)
    middle = CELLS[0].astype(int)
    trio = np.clip(np.stack([middle + step, middle, middle - step]), 0, 255).astype(np.uint8)
    copies = find_copies(trio, [b"a", b"b", b"c"], np.arange(3))
    assert [(copy.original, copy.copy) for copy in copies.near] == [(1, 0), (1, 2)]
    assert copies.unique.tolist() == [1]


def test_reducing_averages() -> None:
    large = np.zeros((1, 2 * SIDE, 2 * SIDE, 3), np.uint8)
    large[:, ::2] = 200
    assert (reduce(large) == 100).all()


def test_border_quantiles_see_the_border_alone() -> None:
    image = np.zeros((32, 48, 3), np.uint8)
    image[2:-2, 2:-2] = 255  # 32 // 16 = 2 pixels are border
    assert border_quantiles(image).max() == 0
    image[:2] = 100  # 96 of 304 border pixels: above the median, up to the end
    assert border_quantiles(image)[:5].tolist() == [0, 0, 0, 100, 100]


def test_the_border_probe_finds_a_planted_background_and_no_other() -> None:
    cells = array_cells([0, 1] * 150)
    cells.images[:] = paint_cells(np.zeros(300, np.int64), 28, 0.3, seed=2)  # labels mean nothing
    rows = np.arange(300)
    honest = probe_shortcuts(scan(cells), cells.labels, rows)["border_pixels"]
    assert honest.interval[0] < 0.5 < honest.interval[1] + 0.05
    cells.images[1::2, :1] = 10
    planted = probe_shortcuts(scan(cells), cells.labels, rows)["border_pixels"]
    assert planted.accuracy > 0.98
    assert planted.chance == 0.5
    # Wilson's interval by hand: z = 1.959964
    share, total, z = planted.accuracy, 300, 1.959964
    middle = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    assert planted.interval == pytest.approx((middle - half, middle + half), abs=1e-6)
