"""Optimisers against torch's own, layer-wise decay against arithmetic, and gradients that are clipped."""

from typing import Any

import pytest
import timm
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from bcc_lightning.architectures.blocks import timm_blocks
from bcc_lightning.errors import UserError
from bcc_lightning.modules import EfficientSwin, TransferClassifier
from bcc_lightning.modules.optimization import Recipe, make_optimizer, parameter_groups
from bcc_lightning.modules.recipe import OptimizerName
from tests.modules.tiny import CLASSES, RateRecorder, TinyClassifier, TinyNet, fit

OPTIMIZERS: list[OptimizerName] = ["adam", "adamw", "sgd", "rmsprop", "lion"]


def weights_after(make: Any, steps: int = 3) -> torch.Tensor:
    torch.manual_seed(0)
    layer, images = nn.Linear(4, 3), torch.randn(5, 4)
    optimizer: Optimizer = make(layer)
    for _ in range(steps):
        optimizer.zero_grad()
        layer(images).square().mean().backward()
        optimizer.step()
    return layer.weight.detach()


def ours(name: OptimizerName, **options: Any) -> Any:
    recipe = Recipe(lr=0.01, weight_decay=0.1)
    return lambda layer: make_optimizer(parameter_groups(layer, recipe, 1.0, []), name, recipe, **options)


def by_torch(kind: type[Optimizer], **options: Any) -> Any:
    # Biases are not decayed.
    return lambda layer: kind(
        [{"params": [layer.weight], "weight_decay": 0.1}, {"params": [layer.bias], "weight_decay": 0.0}],
        lr=0.01,  # type: ignore[call-arg]
        **options,
    )


@pytest.mark.parametrize(
    ("name", "momentum", "expected"),
    [
        ("adam", 0.9, by_torch(Adam)),
        ("adamw", 0.9, by_torch(AdamW)),
        ("sgd", 0.0, by_torch(SGD)),
        ("sgd", 0.5, by_torch(SGD, momentum=0.5, nesterov=True)),
        ("rmsprop", 0.0, by_torch(RMSprop, alpha=0.9)),
        ("rmsprop", 0.5, by_torch(RMSprop, alpha=0.9, momentum=0.5)),
    ],
)
def test_optimizer_is_that_of_torch(name: OptimizerName, momentum: float, expected: Any) -> None:
    assert torch.allclose(weights_after(ours(name, momentum=momentum)), weights_after(expected), atol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimisers_are_fused_where_torch_can(name: OptimizerName) -> None:
    optimizer = ours(name)(nn.Linear(3, 2))
    assert bool(optimizer.defaults.get("fused")) is (name in {"adam", "adamw", "sgd"})
    assert sorted(group["weight_decay"] for group in optimizer.param_groups) == [0.0, 0.1]  # the bias is not decayed


def test_lion_steps_by_the_sign() -> None:
    # Chen et al. 2023, algorithm 2: the first step is lr times the sign of the gradient, after a decay by lr x 0.1.
    torch.manual_seed(0)
    layer, images = nn.Linear(4, 3), torch.randn(5, 4)
    layer(images).square().mean().backward()
    assert layer.weight.grad is not None
    expected = layer.weight.detach() * (1 - 0.01 * 0.1) - 0.01 * layer.weight.grad.sign()
    assert torch.allclose(weights_after(ours("lion"), steps=1), expected, atol=1e-6)


def test_learning_rate_falls_from_block_to_block() -> None:
    recorder = RateRecorder()
    module = TinyClassifier(lr=0.8, layer_decay=0.5, optimizer="sgd", weight_decay=0.1)
    fit(module, [recorder], max_epochs=1)
    # Head 0.8, second block half of it, first block a quarter; each with and without decay.
    assert sorted(recorder.rates[0]) == pytest.approx([0.2, 0.2, 0.4, 0.4, 0.8, 0.8])
    (optimizer,) = module.trainer.optimizers
    found = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    network = module.network
    assert isinstance(network, TinyNet)
    for part, rate in ((network.stem, 0.2), (network.body, 0.4), (network.head, 0.8)):
        assert [found[id(p)] for p in part.parameters()] == pytest.approx([rate] * len(list(part.parameters())))


def test_schedule_scales_every_block_alike() -> None:
    recorder = RateRecorder()
    fit(TinyClassifier(lr=0.8, layer_decay=0.5, schedule="step", milestones=[1]), [recorder], max_epochs=2)
    assert sorted(recorder.rates[-1]) == pytest.approx([0.02, 0.02, 0.04, 0.04, 0.08, 0.08])


def transfer(backbone: str) -> TransferClassifier:
    return TransferClassifier(backbone=backbone, class_names=CLASSES, image_size=64, pretrained=False)


@pytest.mark.parametrize(
    ("backbone", "blocks"),
    [
        ("efficientnet_b0", 17),  # stem, 1 + 2 + 2 + 3 + 3 + 4 + 1 blocks; the last convolution counts to the last block
        ("swin_tiny_patch4_window7_224", 13),  # patch embedding, 2 + 2 + 6 + 2 blocks
        ("resnet18", 9),  # stem, 4 stages of 2
        ("vit_tiny_patch16_224", 13),  # patch embedding with class token and positions, 12 blocks
    ],
)
def test_blocks_cover_the_backbone_once(backbone: str, blocks: int) -> None:
    network = timm.create_model(backbone, num_classes=0)
    found = timm_blocks(network)
    assert len(found) == blocks
    listed = [id(p) for block in found for p in block.parameters()]
    assert sorted(listed) == sorted(id(p) for p in network.parameters())


def test_last_blocks_of_a_hybrid_are_the_last_of_each_branch() -> None:
    module = EfficientSwin(class_names=CLASSES, image_size=32, pretrained=False)
    names = {id(p): name for name, p in module.network.named_parameters()}
    last = {names[id(p)].rpartition(".")[0] for p in module.backbone_blocks()[-1].parameters()}
    assert {name.split(".")[0] for name in last} == {"swin", "cnn"}
    assert {names[id(p)] for p in module.head_parameters()} == {"head.weight", "head.bias"}
    assert len(module.backbone_blocks()) == 17  # EfficientNet-B0's, aligned with the 13 of Swin at their ends


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_gradients_are_clipped_with_every_optimizer(name: OptimizerName, precision: str) -> None:
    norms: list[float] = []

    class Recorder(RateRecorder):
        def on_before_zero_grad(self, trainer: Any, pl_module: Any, optimizer: Optimizer) -> None:
            gradients = [p.grad for p in pl_module.network.parameters() if p.grad is not None]
            if gradients:
                norms.append(float(torch.stack([g.norm() for g in gradients]).norm()))

    module = TinyClassifier(optimizer=name, lr=1e-4)
    fit(module, [Recorder()], max_epochs=2, gradient_clip_val=0.01, precision=precision)
    assert norms
    assert norms == pytest.approx([0.01] * len(norms), rel=1e-3)  # of 0.5 and more without


def test_frozen_network_is_refused() -> None:
    module = TinyClassifier()
    module.requires_grad_(False)
    with pytest.raises(UserError, match="nothing to train"):
        fit(module, [], max_epochs=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"momentum": 1.0}, r"--model\.momentum is 1.0, it must be from 0 to below 1"),
        ({"layer_decay": 0.0}, r"--model\.layer_decay is 0.0"),
        ({"schedule": "step"}, r"--model\.milestones \[50,75\]"),
        ({"schedule": "step", "milestones": [9, 3]}, "ascending order"),
        ({"schedule": "plateau", "warmup_epochs": 1}, "takes no warm-up"),
        ({"schedule": "plateau", "lr_factor": 1.0}, r"--model\.lr_factor"),
        ({"average": "ema", "ema_decay": 1.0}, r"--model\.ema_decay"),
    ],
)
def test_argument_out_of_range_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TinyClassifier(**arguments)
