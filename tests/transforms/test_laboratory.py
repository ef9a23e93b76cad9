"""Differences between laboratories: each part against another library or arithmetic, and the same numbers everywhere."""

import io
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

from bcc_lightning.datamodules import SyntheticSmear
from bcc_lightning.datasets.smear_painter import paint_cells
from bcc_lightning.errors import UserError
from bcc_lightning.transforms.jpeg import compress
from bcc_lightning.transforms.laboratory import EVERY, Laboratories, change_light, change_stain, frame

CELLS = torch.from_numpy(paint_cells(np.arange(8), 52, 0.2, 1)).permute(0, 3, 1, 2)
WHITE = torch.full((4, 3, 40, 40), 255, dtype=torch.uint8)


@pytest.mark.parametrize("quality", [15, 50, 90])
def test_compression_loses_what_pillow_loses(quality: int) -> None:
    """52 pixels are no whole number of blocks. Pillow rounds its transforms differently, so that single levels differ."""
    found = compress(CELLS.float() / 255, torch.full((8,), quality)) * 255
    for image, ours in zip(CELLS, found, strict=True):
        file = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality, subsampling=0)
        theirs = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).float()
        assert (ours - theirs).abs().mean() < 0.6
        assert (theirs - image).abs().mean() > 3 * (ours - theirs).abs().mean()


@pytest.mark.parametrize("part", EVERY)
def test_each_part_changes_cells_and_repeats_itself(part: Any) -> None:
    apply = Laboratories([part])
    found = apply(CELLS, 5)
    assert found.dtype == torch.uint8
    assert found.shape == CELLS.shape
    assert not torch.equal(found, CELLS)
    assert torch.equal(found, apply(CELLS, 5))
    assert not torch.equal(found, apply(CELLS, 6))


def test_parts_are_applied_in_one_order_and_draw_independently() -> None:
    assert Laboratories(["noise", "stain"]).parts == ["stain", "noise"]
    assert Laboratories("all").parts == list(EVERY)
    assert torch.equal(Laboratories(["stain", "rotation"])(WHITE, 3), WHITE)
    both, alone = Laboratories(["rotation", "light"])(WHITE, 3), Laboratories(["light"])(WHITE, 3)
    assert torch.equal(both, alone)


def test_a_part_that_does_not_exist() -> None:
    with pytest.raises(UserError, match=r"--data\.laboratory"):
        Laboratories(cast(Any, ["colour"]))


def test_stain_of_an_amount_that_is_multiplied_multiplies_the_optical_density() -> None:
    """With dyes of the same hue and one factor for both, each channel's density of a mixture of the two is multiplied by it."""

    class Fixed:
        """Draws no change of hue, and the factor 2 (the end of the range)."""

        def normal(self, _mean: float, _deviation: Any, size: tuple[int, ...]) -> np.ndarray[Any, Any]:
            return np.zeros(size)

        def uniform(self, _low: float, high: float, size: tuple[int, ...]) -> np.ndarray[Any, Any]:
            return np.full(size, high)

    from bcc_lightning.transforms.stain import STAINS

    density = torch.from_numpy((np.array([0.2, 0.3]) @ STAINS[:2]).astype(np.float32))
    image = torch.exp(-density)[None, :, None, None].expand(2, 3, 4, 4)
    found = change_stain(image, cast(Any, Fixed()))
    assert torch.allclose(-found.log(), 2 * density[None, :, None, None].expand_as(found), atol=1e-5)


def test_frames_keep_even_images_and_turn_about_the_centre() -> None:
    even = torch.full((3, 3, 31, 31), 0.4)
    draws = {part: np.random.default_rng(0) for part in ("rotation", "magnification", "tightness")}
    assert torch.allclose(frame(even, **draws), even, atol=1e-6)
    dot = torch.zeros(3, 1, 31, 31)
    dot[:, :, 15, 15] = 1
    turned = frame(dot, rotation=np.random.default_rng(0), magnification=np.random.default_rng(0))
    assert (turned.flatten(1).argmax(1) == 15 * 31 + 15).all()


def test_in_another_light_brighter_cells_stay_brighter() -> None:
    levels = torch.stack([torch.full((3, 9, 9), level) for level in (0.2, 0.4)])

    class Same:
        """Draws for both images what the first would have."""

        def __init__(self) -> None:
            self.draw = np.random.default_rng(2)

        def uniform(self, low: float, high: float, size: Any) -> Any:
            return (
                np.broadcast_to(self.draw.uniform(low, high, (1, *np.atleast_1d(size)[1:])), size)
                if np.ndim(size)
                else np.full(size, self.draw.uniform(low, high))
            )

        def normal(self, mean: float, deviation: float, size: Any) -> Any:
            return np.broadcast_to(self.draw.normal(mean, deviation, (1, *size[1:])), size)

    dark, bright = change_light(levels, cast(Any, Same()))
    assert (bright > dark).all()


def test_training_draws_anew_and_validation_always_the_same() -> None:
    data = SyntheticSmear(train_cells=16, val_cells=8, test_cells=8, image_size=32, batch_size=8, laboratory="all")
    batch = next(iter(data.val_dataloader()))

    def seen(**state: Any) -> torch.Tensor:
        data.trainer = cast(Any, SimpleNamespace(**{"training": False, "validating": False, "current_epoch": 0, **state}))
        return data.transfer_batch_to_device(batch, torch.device("cpu"), 0).image

    assert torch.equal(seen(), batch.image)  # the test
    assert torch.equal(seen(validating=True), seen(validating=True, current_epoch=3))
    assert not torch.equal(seen(validating=True), batch.image)
    assert not torch.equal(seen(training=True), seen(training=True, current_epoch=1))
    assert torch.equal(seen(training=True, current_epoch=1), seen(training=True, current_epoch=1))


def test_two_views_of_each_cell_are_in_one_batch() -> None:
    data = SyntheticSmear(train_cells=16, val_cells=8, test_cells=8, image_size=32, batch_size=8, laboratory="all", views=2)
    data.trainer = cast(Any, SimpleNamespace(training=True, validating=False, current_epoch=0, global_rank=0, world_size=1))
    batch = next(iter(data.train_dataloader()))
    found = data.transfer_batch_to_device(batch, torch.device("cpu"), 0)
    first, second = found.image.chunk(2)
    assert first.shape == batch.image.shape
    assert not torch.equal(first, second)
    assert torch.equal(found.position, batch.position.repeat(2))
    assert torch.equal(found.label, batch.label.repeat(2))
    data.trainer.training, data.trainer.validating = False, True
    assert len(data.transfer_batch_to_device(batch, torch.device("cpu"), 0).image) == len(batch.image)
