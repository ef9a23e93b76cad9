"""Supervised contrastive learning: the loss by hand, the two phases, what is refused; and the eight positions of an image."""

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor

from bcc_lightning.architectures.transfer import SupConNet
from bcc_lightning.datamodules.synthetic_smear import SyntheticSmear
from bcc_lightning.datasets.batches import CellBatch
from bcc_lightning.errors import UserError
from bcc_lightning.modules import SupConClassifier
from bcc_lightning.modules.losses import supervised_contrastive_loss
from bcc_lightning.transforms.square import random_turn, turn


def classifier(**arguments: Any) -> SupConClassifier:
    torch.manual_seed(0)
    data = {"class_names": [f"class {i}" for i in range(8)], "image_size": 32, "pretrained": False}
    return SupConClassifier(backbone="resnet18", **(data | arguments))


def test_loss_of_four_points_by_hand() -> None:
    """Unit vectors along x, x, y, y with labels 0, 0, 1, 0, temperature 1; similarities are 1 along and 0 across.

    Points 0 and 1 see e, 1, 1: log-shares 1 - log(e + 2) of the other and -log(e + 2) of point 3.
    Point 2 is alone in its class. Point 3 sees 1, 1, e, and its positives, 0 and 1, have -log(e + 2) each.
    """
    points = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    total = torch.tensor(torch.e + 2).log().item()
    expected = [total - 0.5, total - 0.5, 0.0, total]
    loss = supervised_contrastive_loss(points, torch.tensor([0, 0, 1, 0]), temperature=1.0)
    assert loss.tolist() == pytest.approx(expected)


def test_temperature_divides_similarities() -> None:
    """Three points: the positive has similarity 1, the other 0; at temperature 0.5 the log-share is 2 - log(e^2 + 1)."""
    points = torch.tensor([[1.0, 0], [1, 0], [0, 1]])
    loss = supervised_contrastive_loss(points, torch.tensor([0, 0, 1]), temperature=0.5)
    assert loss[0].item() == pytest.approx(torch.tensor(torch.e**2 + 1).log().item() - 2)


def test_the_loss_is_smallest_where_classes_are_points_of_their_own() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    apart = torch.tensor([[1.0, 0], [1, 0], [-1, 0], [-1, 0]])
    mixed = torch.tensor([[1.0, 0], [-1, 0], [1, 0], [-1, 0]])
    means = [supervised_contrastive_loss(points, labels, 0.05).mean().item() for points in (apart, mixed)]
    assert means[0] == pytest.approx(0, abs=1e-6)
    assert means[1] == pytest.approx(2 / 0.05)  # the positive has -1, one other +1: -(-20 - 20)


def test_projection_lies_on_the_unit_sphere() -> None:
    network = cast(SupConNet, classifier(projection=16).network)
    points = network.project(torch.randn(5, 512))
    assert points.shape == (5, 16)
    torch.testing.assert_close(points.norm(dim=1), torch.ones(5))


def weights_of(part: torch.nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in part.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[key], b[key]) for key in a)


class Phases(SupConClassifier):
    """Notes the weights at the end of each epoch."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.seen = [self.parts()]

    def parts(self) -> dict[str, dict[str, Tensor]]:
        """Copy encoder, projection and classifier."""
        network = cast(SupConNet, self.network)
        return {name: weights_of(getattr(network, name)) for name in ("backbone", "projection", "head")}

    def on_train_epoch_end(self) -> None:
        """Copy, then log."""
        super().on_train_epoch_end()
        self.seen.append(self.parts())


def test_first_the_encoder_learns_then_the_classifier_alone() -> None:
    torch.manual_seed(0)
    data = SyntheticSmear(train_cells=32, val_cells=8, test_cells=8, image_size=32, batch_size=16)
    module = Phases(
        class_names=list(data.class_names), image_size=32, pretrained=False, backbone="resnet18", contrastive_epochs=1
    )
    trainer = Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(module, data)
    start, contrastive, classifying = module.seen
    for name in ("backbone", "projection"):
        assert not same(start[name], contrastive[name])
        assert same(contrastive[name], classifying[name]), name  # running statistics of batch normalisation included
    assert same(start["head"], contrastive["head"])
    assert not same(contrastive["head"], classifying["head"])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"contrastive_epochs": -1}, "contrastive_epochs -1"),
        ({"temperature": 0.0}, "temperature 0.0"),
        ({"projection": 0}, "projection 0"),
        ({"head": {"pooling": "avg"}}, "head.pooling is avg"),
    ],
)
def test_impossible_arguments_are_refused(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        classifier(**arguments)


@pytest.mark.parametrize(
    ("trainer", "named"),
    [
        (lambda: Trainer(max_epochs=20, logger=False), "--trainer.max_epochs 20"),
        (
            lambda: Trainer(max_epochs=40, logger=False, callbacks=[EarlyStopping("val/loss", patience=5)]),
            "--selection.patience 5",
        ),
    ],
)
def test_a_training_without_a_trained_classifier_is_refused(trainer: Callable[[], Trainer], named: str) -> None:
    module = classifier(contrastive_epochs=20)
    module.trainer = trainer()
    with pytest.raises(UserError, match=named):
        module.on_fit_start()


def test_mixed_cells_have_no_class_to_be_brought_to() -> None:
    images = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    batch = CellBatch(images, torch.arange(4), torch.ones(4), torch.arange(4), torch.eye(8)[:4])
    with pytest.raises(UserError, match=r"--data.mixing none"):
        classifier(contrastive_epochs=5).training_loss(batch)


# ---- the eight positions


def test_positions_by_hand() -> None:
    """A quarter turn is counter-clockwise, as NumPy's; from 4 on columns are then exchanged."""
    image = torch.tensor([[1, 2], [3, 4]]).expand(8, 3, 2, 2)
    turned = turn(image, torch.arange(8))[:, 0].tolist()
    assert turned == [
        [[1, 2], [3, 4]], [[2, 4], [1, 3]], [[4, 3], [2, 1]], [[3, 1], [4, 2]],
        [[2, 1], [4, 3]], [[4, 2], [3, 1]], [[3, 4], [1, 2]], [[1, 3], [2, 4]],
    ]  # fmt: skip


def test_drawn_positions_are_equally_frequent_and_follow_the_seed() -> None:
    image = torch.tensor([[1, 2], [3, 4]]).expand(8000, 3, 2, 2)
    torch.manual_seed(3)
    drawn = random_turn(image)
    positions = (drawn[:, 0].flatten(1) * torch.tensor([1, 5, 25, 125])).sum(dim=1)
    _, counts = positions.unique(return_counts=True)
    assert len(counts) == 8
    # 8000 / 8 = 1000, with a standard deviation of (8000 * 1/8 * 7/8) ** 0.5 = 29.6
    assert (counts - 1000).abs().max() < 5 * 29.6
    torch.manual_seed(3)
    assert torch.equal(random_turn(image), drawn)
