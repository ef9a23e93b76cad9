"""Perturbation: ranks and curves by hand; the right map scores best, its opposite worst, chance in between."""

import numpy as np
import pytest
import torch

from bcc_lightning.explanation import perturbation
from bcc_lightning.explanation.baselines import random
from bcc_lightning.explanation.perturbation import blur, deletion_and_insertion, probability, ranked, road
from tests.explanation.quadrant import dark_spots, perfect, quadrant

COUNT = 6
CLASSES = torch.ones(COUNT, dtype=torch.int64)


def pixels() -> torch.Tensor:
    return quadrant().prepare(dark_spots(COUNT))


def test_ranks_keep_the_order_and_are_all_different() -> None:
    maps = np.array([[[0.5, 0.1], [0.9, 0.3]], [[0, 0], [1, 0]]], np.float32)
    ranks = ranked(maps)
    np.testing.assert_array_equal(ranks[0], [[0.5, 0], [0.75, 0.25]])
    assert ranks[1, 1, 0] == 0.75
    assert sorted(ranks[1].flat) == [0, 0.25, 0.5, 0.75]


def test_a_share_of_a_blank_map_can_be_removed() -> None:
    """Half of a blank map, as of any other, is above the middle."""
    assert (ranked(np.zeros((1, 32, 32), np.float32)) >= 0.5).mean() == 0.5


def test_curves_of_one_step_are_the_mean_of_image_and_blurred_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perturbation, "STEPS", 1)
    network = quadrant().network
    ends = [probability(network, images, CLASSES) for images in (pixels(), blur(pixels()))]
    deletion, insertion = deletion_and_insertion(network, pixels(), CLASSES, perfect(COUNT))
    np.testing.assert_allclose(deletion, np.mean(ends, axis=0))
    np.testing.assert_allclose(insertion, deletion)


def test_blur_keeps_a_plain_image_and_takes_away_detail() -> None:
    plain = torch.full((1, 3, 32, 32), 0.25)
    torch.testing.assert_close(blur(plain), plain)
    board = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(16, 16).expand(1, 3, 32, 32)
    torch.testing.assert_close(blur(board), torch.full((1, 3, 32, 32), 0.5), atol=0.01, rtol=0)


def black_quadrant() -> torch.Tensor:
    """Draw pale images that are black in the quadrant: blurred, or filled in from around, they lose what speaks for the class."""
    images = torch.full((COUNT, 3, 32, 32), 0.9)
    images[:, :, :16, :16] = 0
    return images


def test_the_right_map_is_deleted_fast_and_inserted_fast() -> None:
    network, images = quadrant().network, black_quadrant()
    scores = {
        name: [float(score.mean()) for score in deletion_and_insertion(network, images, CLASSES, maps)]
        for name, maps in {"right": perfect(COUNT), "wrong": 1 - perfect(COUNT), "chance": random(images)}.items()
    }
    (right_deletion, right_insertion), (wrong_deletion, wrong_insertion) = scores["right"], scores["wrong"]
    assert right_insertion > right_deletion
    assert wrong_insertion < wrong_deletion
    assert right_deletion < scores["chance"][0] < wrong_deletion
    assert wrong_insertion < scores["chance"][1] < right_insertion


def test_road_is_high_for_the_right_map_and_zero_for_chance() -> None:
    network, images = quadrant().network, black_quadrant()
    right, wrong, chance = (road(network, images, CLASSES, maps) for maps in (perfect(COUNT), 1 - perfect(COUNT), random(images)))
    assert right.mean() > 0.1
    assert wrong.mean() < -0.1
    assert abs(chance.mean()) < 0.05
    np.testing.assert_array_equal(road(network, images, CLASSES, perfect(COUNT)), right)  # its noise is seeded
