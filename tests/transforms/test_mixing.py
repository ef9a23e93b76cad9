"""MixUp and CutMix against arithmetic by hand and torchvision."""

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot
from torchvision.transforms import v2

from bcc_lightning.errors import UserError
from bcc_lightning.transforms.mixing import Box, Mixed, Mixing, cutmix, draw_box, make_mixing, mixup

NAMES = ["mixup", "cutmix", "mixup_cutmix"]


def batch(size: int = 7, side: int = 20) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Make a batch whose image i is all i, so that a mixed pixel shows where it comes from; label i is class i."""
    images = torch.arange(size, dtype=torch.uint8).mul(30)[:, None, None, None].repeat(1, 3, side, side + 3)
    return images, torch.eye(size), torch.arange(size, dtype=torch.float32)


def mix(name: str, seed: int, size: int = 7) -> tuple[tuple[torch.Tensor, torch.Tensor, torch.Tensor], Mixed]:
    mixing = make_mixing(name)  # type: ignore[arg-type]
    assert mixing is not None
    given = batch(size)
    return given, mixing(*given, seed=seed)


def test_mixup_by_hand() -> None:
    images = torch.tensor([[[[200]]], [[[100]]]], dtype=torch.uint8)
    mixed = mixup(images, torch.tensor([1, 0]), share=0.7)
    assert mixed.flatten().tolist() == [170, 130]  # 0.7 * 200 + 0.3 * 100 and 0.7 * 100 + 0.3 * 200
    assert mixed.dtype == torch.uint8


def test_cutmix_by_hand() -> None:
    images = torch.tensor([10, 20], dtype=torch.uint8)[:, None, None, None].repeat(1, 3, 4, 5)
    mixed, share = cutmix(images, torch.tensor([1, 0]), Box(top=1, bottom=3, left=2, right=5))
    expected = torch.full((4, 5), 10)
    expected[1:3, 2:5] = 20
    assert mixed[0, 0].tolist() == expected.tolist()
    assert share == pytest.approx(1 - 6 / 20)
    assert images[0].unique().tolist() == [10]  # the given batch is untouched


def test_mixup_agrees_with_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(6)
    theirs = v2.MixUp(num_classes=6)
    monkeypatch.setattr(theirs, "make_params", lambda inputs: {"labels": labels, "batch_size": 6, "lam": 0.3})
    pixels, targets = theirs(images.float(), labels)
    partner = torch.arange(6).roll(1)  # torchvision's partner is the neighbour
    assert (mixup(images, partner, 0.3).float() - pixels).abs().max() <= 0.501  # ours is rounded
    ours = torch.lerp(one_hot(labels, 6).float()[partner], one_hot(labels, 6).float(), 0.3)
    assert torch.allclose(ours, targets)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1, 2, 7, 32])
def test_types_shapes_and_sums_are_kept(name: str, size: int) -> None:
    for seed in range(20):
        (images, targets, weights), mixed = mix(name, seed, size)
        assert (mixed.images.shape, mixed.images.dtype) == (images.shape, torch.uint8)
        assert (mixed.targets.shape, mixed.targets.dtype) == (targets.shape, torch.float32)
        assert (mixed.weights.shape, mixed.weights.dtype) == (weights.shape, torch.float32)
        assert torch.allclose(mixed.targets.sum(dim=1), torch.ones(size))
        assert mixed.targets.min() >= 0


def test_cutmix_labels_are_the_shares_of_pixels_also_where_the_box_is_cut_off() -> None:
    cut_off = 0
    for seed in range(200):
        (images, _, _), mixed = mix("cutmix", seed)
        for i in range(len(images)):
            levels, counts = mixed.images[i, 0].unique(return_counts=True)
            pixels = torch.zeros(len(images))
            pixels[levels.long() // 30] = counts / counts.sum()
            assert torch.allclose(mixed.targets[i], pixels, atol=1e-6)
        foreign = mixed.images[0, 0] != 0
        cut_off += bool(foreign.any() and not foreign.all() and (foreign[0].any() or foreign[:, -1].any()))
    assert cut_off > 20


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_mixed_with_the_same_lambda_as_labels(name: str) -> None:
    for seed in range(20):
        (_, _, weights), mixed = mix(name, seed)
        # targets hold lambda in the cell's own column and 1 - lambda in its partner's, and cell i weighs i
        assert torch.allclose(mixed.weights, mixed.targets @ weights, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_mixture_follows_the_seed_and_leaves_global_generators_alone(name: str) -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - the generator that timm would use
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[union-attr] # noqa: NPY002
    first, again, other = (mix(name, seed)[1] for seed in (5, 5, 6))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.images, other.images)
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()  # type: ignore[union-attr] # noqa: NPY002


def test_both_are_taken_equally_often() -> None:
    mixing = make_mixing("mixup_cutmix", mixup_alpha=1.0)
    assert mixing is not None
    images = torch.tensor([0, 255], dtype=torch.uint8)[:, None, None, None].repeat(1, 3, 8, 8)
    blended = 0
    for seed in range(400):
        mixed = mixing(images, torch.eye(2), torch.ones(2), seed)
        blended += bool(((mixed.images > 0) & (mixed.images < 255)).any())
    # half of the batches take MixUp, and half of those pair the two images: 100 +- 5 * sqrt(400 * 0.25 * 0.75)
    assert abs(blended - 100) < 43


def test_boxes_have_the_drawn_area_before_cutting() -> None:
    rng = np.random.default_rng(0)
    boxes = [draw_box(100, 200, 0.25, rng) for _ in range(500)]
    inside = [box for box in boxes if box.top > 0 and box.bottom < 100 and box.left > 0 and box.right < 200]
    assert len(inside) > 50
    assert all(
        (box.bottom - box.top, box.right - box.left) in {(50, 100), (49, 100), (51, 100), (50, 99), (50, 101)} for box in inside
    )
    assert all(box.top == box.bottom for box in (draw_box(28, 28, 0.0, rng) for _ in range(20)))


def test_channels_last_stays() -> None:
    images = batch()[0].contiguous(memory_format=torch.channels_last)
    for mixing in (Mixing(0.2, 0.0), Mixing(0.0, 1.0)):
        assert mixing(images, torch.eye(7), torch.ones(7), 0).images.is_contiguous(memory_format=torch.channels_last)


def test_none_mixes_nothing() -> None:
    assert make_mixing("none") is None


def test_mistakes_are_refused() -> None:
    with pytest.raises(UserError, match=r"--data\.mixing is 'cutout', it must be one of none, mixup, cutmix, mixup_cutmix"):
        make_mixing("cutout")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="cutmix_alpha is 0, it must be above 0"):
        make_mixing("cutmix", cutmix_alpha=0)
    with pytest.raises(UserError, match="mixup_alpha is nan"):
        make_mixing("mixup", mixup_alpha=float("nan"))
