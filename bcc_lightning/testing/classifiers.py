"""What every classifier promises: its images, logits, checkpoints, blocks and maps, and that it learns."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Trainer
from torch import Tensor, nn

from bcc_lightning.datamodules import SyntheticSmear
from bcc_lightning.datasets.classes import EIGHT_CELL_CLASSES
from bcc_lightning.explanation.maps import explain_images
from bcc_lightning.modules.base import CellClassifier
from bcc_lightning.modules.checkpoint import load_classifier, save_classifier

NATIVE_SIDE = 28
"""Side in pixels of the images that a classifier is given; it enlarges or shrinks them."""

LR = 0.0123
"""A learning rate that is no default."""

QUIET: Mapping[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}


class ClassifierTests:
    """Tests that every classifier passes; an architecture fills in `make`.

    Example:
        ```python
        class TestMyNet(ClassifierTests):
            def make(self, **arguments):
                return MyNet(**arguments)
        ```

    Attributes:
        image_size: side S in pixels that the network sees, at least its smallest.
        max_epochs: epochs of the training after which weights must have changed.
        trains: whether it learns at all; an ensemble of trained networks does not.
    """

    image_size: int = 32
    max_epochs: int = 1
    trains: bool = True

    def make(self, **arguments: Any) -> CellClassifier:  # noqa: ANN401 - the classifier's own arguments
        """Build the classifier.

        Args:
            **arguments: what a test needs, such as ``class_names``, ``image_size`` or ``lr``; to be passed on.
        """
        raise NotImplementedError

    def built(self, class_names: Sequence[str] = EIGHT_CELL_CLASSES, **arguments: Any) -> CellClassifier:  # noqa: ANN401
        """Build the classifier from random weights, the same at every call, in evaluation mode."""
        torch.manual_seed(0)
        data = {"class_names": list(class_names), "image_size": self.image_size, "pretrained": False, "precision": "32"}
        return self.make(**(data | arguments)).eval()

    def test_images_become_logits(self) -> None:
        """Images (B, 3, H, H) uint8 of any size become logits (B, C) float32."""
        for classes in (2, 5):
            module = self.built(class_names=[f"class {number}" for number in range(classes)])
            for count, side in ((3, NATIVE_SIDE), (2, 2 * self.image_size)):
                logits = logits_of(module, random_images(count, side))
                shape = tuple(logits.shape)
                assert shape == (count, classes), f"{count} images must become logits {(count, classes)}, not {shape}"
                assert logits.dtype == torch.float32, f"logits must be float32, they are {logits.dtype}"
                assert logits.isfinite().all(), "logits must be finite"

    def test_images_are_scaled_once(self) -> None:
        """The network sees pixels in [0, 1]; images that were scaled before are refused."""
        module, images = self.built(), random_images(2, NATIVE_SIDE)
        pixels = module.prepare(images)
        assert pixels.dtype == torch.float32, f"the network must see float32, it sees {pixels.dtype}"
        assert 0 <= pixels.min() < pixels.max() <= 1, f"pixels must be in [0, 1], they are in [{pixels.min()}, {pixels.max()}]"
        try:
            module(images.float() / 255)
        except TypeError:
            return
        raise AssertionError("images that are not uint8 must be refused with a TypeError; scaled twice they are nearly black")

    def test_an_image_is_classified_for_itself(self) -> None:
        """The logits of an image depend neither on the others in its batch nor on the call, nor on how it is looked at."""
        module, images = self.built(), random_images(3, NATIVE_SIDE)
        together = logits_of(module, images)
        assert torch.equal(together, logits_of(module, images)), "in evaluation mode the same images must get the same logits"
        alone = torch.cat([logits_of(module, image[None]) for image in images])
        torch.testing.assert_close(alone, together, rtol=1e-3, atol=1e-4, msg="an image's logits must not depend on its batch")
        assert distance(together) > 0, "different images must get different logits"
        with torch.no_grad():
            views = module.forward_views(images).softmax(dim=1)
        torch.testing.assert_close(views, together.softmax(dim=1), rtol=1e-3, atol=1e-4, msg="one view must be the image itself")

    def test_the_same_seed_gives_the_same_weights(self) -> None:
        """All random weights follow torch's seed."""
        one, other = self.built().state_dict(), self.built().state_dict()
        different = [name for name in one if not torch.equal(one[name], other[name])]
        assert not different, f"weights must follow torch.manual_seed; these do not: {', '.join(different[:5])}"

    def test_arguments_reach_the_base_class(self) -> None:
        """The arguments of `CellClassifier` are passed on, and all are kept for the checkpoint."""
        module = self.built(lr=LR)
        assert module.recipe.lr == LR, "arguments of CellClassifier must be passed on: super().__init__(**base)"
        assert module.hparams["lr"] == LR, "arguments must be kept as hyper-parameters"
        assert module.class_names == list(EIGHT_CELL_CLASSES), "class_names must be those of the data"
        assert module.image_size == self.image_size, "image_size must be that of the data"

    def test_a_checkpoint_is_read_back(self, tmp_path: Path) -> None:
        """A checkpoint holds plain values and weights, from which the same classifier is built."""
        module, images = self.built(), random_images(2, NATIVE_SIDE)
        save_classifier(module, tmp_path / "best.ckpt")
        again = load_classifier(tmp_path / "best.ckpt")
        assert type(again) is type(module), f"the checkpoint of a {type(module).__name__} became a {type(again).__name__}"
        expected, found = logits_of(module, images), logits_of(again, images)
        torch.testing.assert_close(found, expected, msg="a loaded checkpoint must give the same logits")

    def test_blocks_and_head_are_the_network(self) -> None:
        """Each parameter is in one block of the backbone or in the head, so that stages and layer_decay reach it once."""
        module = self.built()
        listed = [id(p) for block in module.backbone_blocks() for p in block.parameters()]
        assert len(listed) == len(set(listed)), "backbone_blocks() must list each parameter once"
        head = {id(p) for p in module.head_parameters()}
        everything = {id(p) for p in module.network.parameters()}
        assert set(listed) | head == everything, "backbone_blocks() and head_parameters() must together be the network"
        if self.trains:
            assert head, "head_parameters() must not be empty: the first stage of fine-tuning trains them"

    def test_maps_are_as_declared(self) -> None:
        """`cam_targets` declares layers under names of their own, with the shape that their output really has."""
        module, images = self.built(), random_images(3, NATIVE_SIDE)
        names = [target.name for target in module.cam_targets()]
        assert names, "cam_targets() must declare a layer to draw Grad-CAM from"
        assert len(set(names)) == len(names), f"cam_targets() must have different names, they are {names}"
        explanations = explain_images(module, images, torch.zeros(3, dtype=torch.int64))  # raises where the shape is another
        side = explanations.pixels.shape[1]
        for name, maps in {**explanations.branches, "saliency": explanations.saliency}.items():
            assert maps.shape == (3, side, side), f"the maps of {name} must be {(3, side, side)}, they are {maps.shape}"
            assert np.isfinite(maps).all(), f"the maps of {name} must be finite"
            assert maps.min() >= 0, f"the maps of {name} must be in [0, 1]"
            assert maps.max() == 1, f"the maps of {name} must show something; their largest value is {maps.max()}"

    def test_it_learns(self) -> None:
        """A training changes weights and reports the metrics that epochs are chosen by."""
        module = self.built().train()
        if not self.trains:
            assert not any(p.requires_grad for p in module.parameters()), "nothing must be trainable, for nothing is trained"
            return
        before = {name: p.detach().clone() for name, p in module.named_parameters()}
        data = SyntheticSmear(train_cells=16, val_cells=8, test_cells=8, image_size=self.image_size, batch_size=8)
        trainer = Trainer(max_epochs=self.max_epochs, **QUIET)
        trainer.fit(module, data)
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        missing = {"train/loss", "train/accuracy", "val/loss", "val/accuracy"} - set(metrics)
        assert not missing, f"training must report {', '.join(sorted(missing))}"
        assert np.isfinite(list(metrics.values())).all(), f"all metrics must be finite: {metrics}"
        assert any(not torch.equal(p, before[name]) for name, p in module.named_parameters()), "training must change weights"
        trainer.test(module, data, verbose=False)
        assert "test/accuracy" in trainer.callback_metrics, "the test must report test/accuracy"


def logits_of(module: CellClassifier, images: Tensor) -> Tensor:
    """Classify images without gradients: (B, 3, H, H) uint8 to (B, C) float32."""
    with torch.no_grad():
        logits: Tensor = module(images)
    return logits


def random_images(count: int, side: int) -> Tensor:
    """Draw images of soft spots, no two alike: (N, 3, S, S) uint8."""
    coarse = torch.randint(0, 256, (count, 3, 7, 7), generator=torch.Generator().manual_seed(1)).float()
    return nn.functional.interpolate(coarse, (side, side), mode="bilinear").to(torch.uint8)


def distance(logits: Tensor) -> float:
    """Compute the largest difference between the first row and the others."""
    return float((logits[1:] - logits[:1]).abs().max())
