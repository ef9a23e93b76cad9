"""What `peers.py` compares with: Lightning with torchvision, as their tutorials write it.

Prints images a second, validation left out, and the accuracy on the validation set. With `--track` it also keeps a checkpoint,
tests it, and files the figures in MLflow, as `start_and_end.py` needs.
"""

import argparse
import time
from functools import partial
from pathlib import Path

import timm
import torch
from lightning import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.loggers import MLFlowLogger
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Classifier(LightningModule):
    """A network of timm's, trained by AdamW."""

    def __init__(self, name: str, classes: int, lr: float) -> None:
        super().__init__()
        self.network = timm.create_model(name, num_classes=classes)
        self.lr = lr
        self.right = self.seen = 0

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Compute the loss."""
        return cross_entropy(self.network(batch[0]), batch[1])

    def on_validation_epoch_start(self) -> None:
        """Count from the beginning."""
        self.right = self.seen = 0

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Count the cells that are classified correctly."""
        self.right += int((self.network(batch[0]).argmax(1) == batch[1]).sum())
        self.seen += len(batch[1])

    def on_validation_epoch_end(self) -> None:
        """Log the accuracy."""
        self.log("val_accuracy", self.right / self.seen)

    def on_test_epoch_start(self) -> None:
        """Count from the beginning."""
        self.right = self.seen = 0

    test_step = validation_step

    def on_test_epoch_end(self) -> None:
        """Log the accuracy."""
        self.log("test_accuracy", self.right / self.seen)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Build AdamW."""
        return torch.optim.AdamW(self.network.parameters(), lr=self.lr, weight_decay=0.05)


class Clock(Callback):
    """Times the training steps of all epochs, without the validation between them."""

    def __init__(self) -> None:
        self.steps, self.seconds, self.start = 0, 0.0, 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.start = time.perf_counter()

    def on_train_batch_end(self, *_: object) -> None:
        """Count the step and read the clock."""
        now = time.perf_counter()
        self.steps, self.seconds, self.start = self.steps + 1, self.seconds + now - self.start, now


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=Path, required=True)
    parser.add_argument("--model", required=True)
    for name in ("image-size", "batch-size", "epochs", "workers", "seed"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--track", type=Path, help="folder of an MLflow store")
    options = parser.parse_args()
    seed_everything(options.seed)
    size = transforms.Resize((options.image_size, options.image_size))
    end = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    flip = transforms.RandomHorizontalFlip()
    training = datasets.ImageFolder(str(options.cells / "train"), transforms.Compose([size, flip, *end]))
    validation = datasets.ImageFolder(str(options.cells / "val"), transforms.Compose([size, *end]))
    load = partial(DataLoader, batch_size=options.batch_size, num_workers=options.workers)
    module, clock = Classifier(options.model, len(training.classes), options.lr), Clock()
    track = options.track
    logger = MLFlowLogger("peers", tracking_uri=f"sqlite:///{track}/mlflow.db", artifact_location=str(track)) if track else False
    settings = {"max_epochs": options.epochs, "accelerator": "cpu", "logger": logger, "enable_checkpointing": bool(track)}
    trainer = Trainer(**settings, callbacks=[clock])
    trainer.fit(module, load(training, shuffle=True), load(validation))
    accuracy = module.right / module.seen
    if track:
        test = datasets.ImageFolder(str(options.cells / "test"), transforms.Compose([size, *end]))
        trainer.test(module, load(test), ckpt_path="best")
    print(clock.steps * options.batch_size / clock.seconds, accuracy)


if __name__ == "__main__":
    main()
