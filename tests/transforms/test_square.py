"""Turning a batch at once gives what Albumentations gives cell by cell: all eight positions, equally often."""

import albumentations as A  # noqa: N812
import numpy as np
import pytest
from scipy.stats import chisquare

from bcc_lightning.transforms.pipelines import make_pipeline
from bcc_lightning.transforms.square import begins_with_turns, lay, turn_batch, without_turns

CELL = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
BATCH = 800


def positions_of(cell: np.ndarray) -> set[bytes]:
    """Lay a cell in all positions with Albumentations' own group of the square."""
    names = ["e", "r90", "r180", "r270", "v", "hvt", "h", "t"]
    return {A.geometric.functional.d4(cell, name).tobytes() for name in names}


def test_eight_ways_are_the_eight_positions_of_a_square() -> None:
    assert {lay(CELL[None], way)[0].tobytes() for way in range(8)} == positions_of(CELL)
    assert len(positions_of(CELL)) == 8


def test_all_positions_are_equally_frequent() -> None:
    images = np.repeat(CELL[None], BATCH, axis=0)
    turn_batch(images, seed=0, epoch=0, position=np.arange(BATCH))
    _, counts = np.unique(images.reshape(BATCH, -1), axis=0, return_counts=True)
    assert len(counts) == 8
    assert chisquare(counts).pvalue > 0.001


def test_cells_stay_in_their_places() -> None:
    images = np.random.default_rng(0).integers(0, 256, (64, 5, 5, 3)).astype(np.uint8)
    turned = images.copy()
    turn_batch(turned, seed=1, epoch=2, position=np.arange(64))
    assert all(after.tobytes() in positions_of(before) for before, after in zip(images, turned, strict=True))


@pytest.mark.parametrize("other", [{"seed": 1}, {"epoch": 1}, {"position": np.arange(1, 65)}])
def test_turns_follow_seed_epoch_and_cells(other: dict[str, int]) -> None:
    images = np.repeat(CELL[None], 64, axis=0)
    drawn = []
    for change in ({}, {}, other):
        drawn.append(images.copy())
        turn_batch(drawn[-1], **{"seed": 0, "epoch": 0, "position": np.arange(64), **change})  # type: ignore[arg-type]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()


@pytest.mark.parametrize(("name", "turns"), [("light", True), ("standard", True), ("stain", True), ("pbc_geometric", False)])
def test_only_the_leading_turns_are_taken_out(name: str, turns: bool) -> None:
    pipeline = make_pipeline(name)
    assert pipeline is not None
    assert begins_with_turns(pipeline) == turns
    rest = without_turns(pipeline) if turns else pipeline
    assert [type(step).__name__ for step in (rest.transforms if rest else [])] == [
        type(step).__name__ for step in pipeline.transforms[3 * turns :]
    ]


def test_turns_with_other_shares_stay_albumentations() -> None:
    pipeline = make_pipeline({"name": "light", "HorizontalFlip": {"p": 0.1}})
    assert pipeline is not None
    assert not begins_with_turns(pipeline)
