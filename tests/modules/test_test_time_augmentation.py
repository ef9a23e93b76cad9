"""Test-time augmentation: how many views, their mean by hand, and that turning a cell changes nothing."""

import pytest
import torch
from torch import Tensor

from bcc_lightning.modules.test_time_augmentation import VIEWS, TestTime, describe_views, mean_log_probability, views, zoomed
from tests.modules.tiny import TinyClassifier, painted, trainer_with

POSITIONS = [(turn, flipped) for turn in range(4) for flipped in (False, True)]


def in_position(images: Tensor, turn: int, flipped: bool) -> Tensor:
    turned = torch.rot90(images, turn, (2, 3))
    return turned.flip(3) if flipped else turned


@pytest.mark.parametrize(("test_time", "number"), [("none", 1), ("flips", 4), ("dihedral", 8)])
def test_views_are_all_different_and_nothing_is_interpolated(test_time: TestTime, number: int) -> None:
    image = torch.arange(2 * 3 * 5 * 5).reshape(2, 3, 5, 5)
    seen = list(views(image, test_time))
    assert len({tuple(view.flatten().tolist()) for view in seen}) == number == len(VIEWS[test_time])
    assert all(torch.equal(view.flatten(2).sort().values, image.flatten(2).sort().values) for view in seen)


def test_flips_are_the_mirror_images_and_the_half_turn() -> None:
    image = torch.tensor([[1, 2], [3, 4]]).expand(1, 3, 2, 2)
    seen = {tuple(view[0, 0].flatten().tolist()) for view in views(image, "flips")}
    assert seen == {(1, 2, 3, 4), (2, 1, 4, 3), (3, 4, 1, 2), (4, 3, 2, 1)}


def test_probabilities_are_averaged_not_logits() -> None:
    # The top left pixel decides: 0 and 100 give the classes (0.5, 0.5) and (1, 0) in the two mirror images.
    image = torch.tensor([[0.0, 100.0], [0.0, 100.0]]).expand(1, 3, 2, 2)
    found = mean_log_probability(lambda x: torch.stack([x[:, 0, 0, 0], torch.zeros(1)], dim=1), image, "flips")
    assert found.softmax(dim=1)[0].tolist() == pytest.approx([0.75, 0.25])


@pytest.mark.parametrize(
    ("test_time", "positions"), [("flips", [(0, False), (0, True), (2, False), (2, True)]), ("dihedral", POSITIONS)]
)
def test_prediction_does_not_depend_on_the_position_of_the_cell(test_time: TestTime, positions: list[tuple[int, bool]]) -> None:
    module = TinyClassifier(test_time=test_time).eval()
    images = torch.randint(0, 256, (4, 3, 28, 28), dtype=torch.uint8)
    expected = module.forward_views(images).softmax(dim=1)
    assert not torch.allclose(module(images).softmax(dim=1), module(images.flip(3)).softmax(dim=1), atol=1e-5)
    for turn, flipped in positions:
        found = module.forward_views(in_position(images, turn, flipped)).softmax(dim=1)
        assert torch.allclose(found, expected, rtol=0, atol=1e-7)


def test_validation_takes_one_view_and_the_test_all_eight() -> None:
    module = TinyClassifier(test_time="dihedral")
    calls: list[int] = []
    module.network.register_forward_hook(lambda *_: calls.append(1))
    trainer = trainer_with([])
    trainer.validate(module, painted(), verbose=False)
    assert len(calls) == 1  # 16 cells are one batch
    trainer.test(module, painted(), verbose=False)
    assert len(calls) == 1 + 8


def test_views_are_described() -> None:
    assert describe_views("dihedral") == "dihedral, 8 views"
    assert describe_views("none") is None


def test_zooms_are_eight_ways_at_three_magnifications() -> None:
    image = torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    seen = list(views(image, "zooms"))
    assert len(seen) == 24
    assert describe_views("zooms") == "zooms, 24 views"
    assert [torch.equal(view, other) for view, other in zip(seen[8:16], views(image, "dihedral"), strict=True)] == [True] * 8


@pytest.mark.parametrize(("zoom", "side"), [(2.0, 16), (0.5, 4)])
def test_a_square_is_so_many_times_as_large(zoom: float, side: int) -> None:
    image = torch.zeros(1, 3, 40, 40, dtype=torch.uint8)
    image[:, :, 16:24, 16:24] = 200
    found = zoomed(image, zoom)[0, 0] > 100
    assert found[10:30, 10:30].any(0).sum() == side  # mirror images of it stand at the border
    assert found[:, :20].sum() == found[:, 20:].sum()  # in the middle
    bright = torch.full((1, 3, 40, 40), 7, dtype=torch.uint8)
    assert torch.equal(zoomed(bright, zoom), bright)  # the border is mirrored, not black
