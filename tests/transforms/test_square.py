"""The eight positions of a square: each caller's numbers against NumPy, and whole batches like Albumentations' single images."""

import albumentations as A  # noqa: N812
import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from bcc_lightning.audit.orientation import oriented
from bcc_lightning.modules.test_time_augmentation import TestTime, views
from bcc_lightning.transforms.pipelines import batch_entropy, make_pipeline
from bcc_lightning.transforms.square import begins_with_turns, lay, random_turn, turn_batch, without_turns

CELL = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
BATCH = 800
SQUARES = np.random.default_rng(0).integers(0, 256, (64, 5, 5, 3)).astype(np.uint8)


def positions_of(cell: np.ndarray) -> set[bytes]:
    """Lay a cell in all positions with Albumentations' own group of the square."""
    names = ["e", "r90", "r180", "r270", "v", "hvt", "h", "t"]
    return {A.geometric.functional.d4(cell, name).tobytes() for name in names}


def test_eight_ways_are_the_eight_positions_of_a_square() -> None:
    assert {lay(CELL[None], way)[0].tobytes() for way in range(8)} == positions_of(CELL)
    assert len(positions_of(CELL)) == 8


def mirrored_then_turned(images: np.ndarray, number: int) -> np.ndarray:
    """Exchange columns from 4 on, then turn (B, S, S, 3) by NumPy: numbers of the audit and of training."""
    return np.rot90(np.flip(images, 2) if number >= 4 else images, number % 4, (1, 2))


def turned_then_mirrored(images: np.ndarray, number: int) -> np.ndarray:
    """Turn (B, S, S, 3), then exchange columns from 4 on: numbers of contrastive learning and of the test's views."""
    turned = np.rot90(images, number % 4, (1, 2))
    return np.flip(turned, 2) if number >= 4 else turned


def as_tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.copy()).permute(0, 3, 1, 2)


def as_array(images: torch.Tensor) -> np.ndarray:
    return images.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("number", range(8))
def test_ways_are_mirrored_then_turned(number: int) -> None:
    np.testing.assert_array_equal(lay(SQUARES, number), mirrored_then_turned(SQUARES, number))


def test_training_batches_lie_as_their_drawn_numbers_say() -> None:
    rows = np.arange(64)
    drawn = np.random.default_rng([batch_entropy(3, 2, rows), 1]).integers(8, size=64)
    turned = SQUARES.copy()
    turn_batch(turned, seed=3, epoch=2, position=rows)
    expected = [mirrored_then_turned(SQUARES[row : row + 1], number)[0] for row, number in enumerate(drawn.tolist())]
    np.testing.assert_array_equal(turned, np.stack(expected))
    assert set(drawn.tolist()) == set(range(8))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_contrastive_views_lie_as_their_drawn_numbers_say(dtype: type) -> None:
    torch.manual_seed(5)
    drawn = torch.randint(8, (64,)).tolist()
    torch.manual_seed(5)
    turned = random_turn(as_tensor(SQUARES.astype(dtype)))
    expected = [turned_then_mirrored(SQUARES[row : row + 1], number)[0] for row, number in enumerate(drawn)]
    np.testing.assert_array_equal(as_array(turned), np.stack(expected).astype(dtype))
    assert set(drawn) == set(range(8))


@pytest.mark.parametrize(
    ("test_time", "numbers"), [("none", [0]), ("flips", [0, 4, 2, 6]), ("dihedral", [0, 4, 1, 5, 2, 6, 3, 7])]
)
def test_views_of_a_test_cell_stand_in_their_order(test_time: TestTime, numbers: list[int]) -> None:
    seen = [as_array(view) for view in views(as_tensor(SQUARES), test_time)]
    np.testing.assert_array_equal(np.stack(seen), np.stack([turned_then_mirrored(SQUARES, number) for number in numbers]))


def test_orientations_of_the_audit_stand_in_their_order() -> None:
    expected = np.stack([mirrored_then_turned(SQUARES, number) for number in range(8)])
    np.testing.assert_array_equal(np.stack(list(oriented(SQUARES))), expected)


def test_all_positions_are_equally_frequent() -> None:
    images = np.repeat(CELL[None], BATCH, axis=0)
    turn_batch(images, seed=0, epoch=0, position=np.arange(BATCH))
    _, counts = np.unique(images.reshape(BATCH, -1), axis=0, return_counts=True)
    assert len(counts) == 8
    assert chisquare(counts).pvalue > 0.001


def test_cells_stay_in_their_places() -> None:
    turned = SQUARES.copy()
    turn_batch(turned, seed=1, epoch=2, position=np.arange(64))
    assert all(after.tobytes() in positions_of(before) for before, after in zip(SQUARES, turned, strict=True))


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
        type(step).__name__ for step in pipeline.transforms[turns:]
    ]


def test_turns_with_other_shares_stay_albumentations() -> None:
    pipeline = make_pipeline({"name": "light", "D4": {"p": 0.1}})
    assert pipeline is not None
    assert not begins_with_turns(pipeline)
