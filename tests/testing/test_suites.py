"""The suites find what they are there to find: modules with one fault each, and the sentence that names it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bcc_lightning.architectures.cam_target import CamTarget
from bcc_lightning.datamodules import CellDataModule, SyntheticSmear
from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.modules import CellClassifier, PlainCNN
from bcc_lightning.testing import ClassifierTests, DataModuleTests


class Smear(SyntheticSmear):
    """Painted cells, few of them."""

    def __init__(self, **base: Any) -> None:
        super().__init__(train_cells=48, val_cells=24, test_cells=24, **base)


class TrainingImageInTheTest(Smear):
    """The first test cell is the first training cell once more."""

    def read(self) -> CellImages:
        cells = super().read()
        images = np.array(cells.images)
        images[-1] = images[0]
        return CellImages(images, cells.labels, cells.ids, splits=cells.splits)


class SplitByTheTrainingSeed(Smear):
    """The sets move with the seed of the training."""

    def read(self) -> CellImages:
        cells = super().read()
        assert cells.splits is not None
        return CellImages(cells.images, cells.labels, cells.ids, splits=np.roll(cells.splits, 24 * self.seed))


class PublishedSetsThatMove(Smear):
    """A published test set that moves with the seed of the split."""

    def read(self) -> CellImages:
        cells = super().read()
        assert cells.splits is not None
        return CellImages(cells.images, cells.labels, cells.ids, splits=np.roll(cells.splits, 24 * self.split_plan.seed))


class OneWithoutAClass(Smear):
    """No validation cell is a basophil."""

    def read(self) -> CellImages:
        cells = super().read()
        assert cells.splits is not None
        labels = np.where((cells.splits == 1) & (cells.labels == 0), 1, cells.labels)
        return CellImages(cells.images, labels, cells.ids, splits=cells.splits)


@pytest.mark.parametrize(
    ("kind", "test", "message"),
    [
        (TrainingImageInTheTest, "test_no_cell_is_in_two_sets", "training and test set must not share an image; 1 are in both"),
        (OneWithoutAClass, "test_every_class_is_in_every_set", "the validation set must have cells of every class"),
        (PublishedSetsThatMove, "test_the_split_follows_the_seed", "set must not change with the seed: it is published"),
        (SplitByTheTrainingSeed, "test_balance_and_augmentation_leave_the_split_alone", "must not change the split"),
    ],
)
def test_a_faulty_data_module_is_found_out(kind: type[CellDataModule], test: str, message: str) -> None:
    suite = DataModuleTests()
    suite.published_sets = ("train", "val", "test")
    suite.make = lambda **arguments: kind(image_size=32, **arguments)  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match=message):
        getattr(suite, test)()


class Fault(PlainCNN):
    """A small network with room for a fault."""

    def __init__(self, **base: Any) -> None:
        super().__init__(blocks={"channels": [4, 8]}, **base)  # type: ignore[arg-type]


class BatchCentred(Fault):
    """Subtracts the mean over the batch, so that an image's logits depend on its neighbours."""

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return logits - logits.mean(dim=0)


class Scaled(Fault):
    """Takes images that were scaled before."""

    def prepare(self, images: Tensor) -> Tensor:
        return super().prepare((images * 255).to(torch.uint8) if images.is_floating_point() else images)


class WithoutMaps(Fault):
    """Declares no layer."""

    def cam_targets(self) -> list[CamTarget]:
        return []


class OwnRate(Fault):
    """Keeps a learning rate of its own."""

    def __init__(self, **base: Any) -> None:
        super().__init__(**(base | {"lr": 0.5}))


class HalfABackbone(Fault):
    """Names its first block twice."""

    def backbone_blocks(self) -> list[nn.Module]:
        blocks = super().backbone_blocks()
        return [blocks[0], *blocks]


class Frozen(Fault):
    """Its loss does not depend on what it learns."""

    def training_loss(self, batch: Any) -> tuple[Tensor, Tensor]:
        logits, loss = super().training_loss(batch)
        return logits, loss * 0


@pytest.mark.parametrize(
    ("kind", "test", "message"),
    [
        (BatchCentred, "test_an_image_is_classified_for_itself", "an image's logits must not depend on its batch"),
        (Scaled, "test_images_are_scaled_once", "must be refused with a TypeError"),
        (WithoutMaps, "test_maps_are_as_declared", "must declare a layer"),
        (OwnRate, "test_arguments_reach_the_base_class", r"super\(\).__init__\(\*\*base\)"),
        (HalfABackbone, "test_blocks_and_head_are_the_network", "must list each parameter once"),
        (Frozen, "test_it_learns", "training must change weights"),
    ],
)
def test_a_faulty_classifier_is_found_out(kind: Callable[..., CellClassifier], test: str, message: str) -> None:
    suite = ClassifierTests()
    suite.make = kind  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match=message):
        getattr(suite, test)()


def test_a_map_of_another_shape_is_named() -> None:
    class Wrong(Fault):
        def cam_targets(self) -> list[CamTarget]:
            return [CamTarget("CNN", super().cam_targets()[0].layer, channels=7, side=3)]

    suite = ClassifierTests()
    suite.make = Wrong  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="correct the declaration of the architecture"):
        suite.test_maps_are_as_declared()


def test_what_the_suites_need(tmp_path: Path) -> None:
    """A suite that is not filled in says so, and the base classes are no tests of their own."""
    with pytest.raises(NotImplementedError):
        DataModuleTests().test_facts_name_the_data()
    with pytest.raises(NotImplementedError):
        ClassifierTests().test_it_learns()
    assert not any(suite.__name__.startswith("Test") for suite in (DataModuleTests, ClassifierTests))
