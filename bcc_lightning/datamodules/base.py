"""The data module that all data sets share: split, balance, transform, load."""

import os
from functools import cached_property
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from bcc_lightning.balancing.balance import Balance, Balancing, balance_cells
from bcc_lightning.datamodules.cell_images import CellBatch, CellDataset, CellImages, keep_batch, split_sha256
from bcc_lightning.datamodules.sampling import EpochSampler
from bcc_lightning.errors import UserError
from bcc_lightning.transforms.pipelines import make_pipeline

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")

DATA_DIR_VARIABLE = "BCC_DATA_DIR"
"""Environment variable that names the folder with all data sets."""

AUTOMATIC_WORKERS = 4


class CellDataModule(LightningDataModule):
    """Base of all data modules.

    A data set states `class_names` and `folder`, and fills in `read_splits` and `fingerprint`; it may state
    `native_resolution`. Splitting comes first, then balancing and augmentation of the training part alone.

    Args:
        root: folder of this data set; by default ``$BCC_DATA_DIR/<folder>``, or ``data/<folder>``.
        image_size: side in pixels that the network sees. Larger stored images are shrunk once when read; smaller ones are
            enlarged on the device.
        batch_size: cells per batch and process.
        num_workers: loading processes; by default none where loading only slices an array, else up to 4.
        augment: augmentation pipeline of the training part, a name of `bcc_lightning.transforms.pipelines.PIPELINES`.
        balance: correction for rare classes in the training part.
        seed: seed of order and augmentation; follows ``--seed_everything``.
    """

    class_names: tuple[str, ...]
    folder: str

    def __init__(
        self,
        root: str | None = None,
        image_size: int = 64,
        batch_size: int = 32,
        num_workers: int | None = None,
        augment: str = "none",
        balance: Balance = "none",
        seed: int = 0,
    ) -> None:
        super().__init__()
        refuse_below(1, image_size=image_size, batch_size=batch_size)
        refuse_below(0, num_workers=num_workers or 0)
        self.root = Path(root) if root else Path(os.environ.get(DATA_DIR_VARIABLE, "data")) / self.folder
        self.image_size = image_size
        self.batch_size = batch_size
        self.augment = augment
        self.pipeline = make_pipeline(augment)
        automatic = min(AUTOMATIC_WORKERS, os.cpu_count() or 1) if self.pipeline else 0
        self.num_workers = automatic if num_workers is None else num_workers
        self.balance = balance
        self.seed = seed
        self.first_epoch = 0

    def read_splits(self) -> dict[SplitName, CellImages]:
        """Read the three splits into memory; called once."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        """Hash what the data set is made of, SHA-256 in hexadecimal."""
        raise NotImplementedError

    @cached_property
    def splits(self) -> dict[SplitName, CellImages]:
        """The three splits, shrunk to the image size where they are larger."""
        return {name: shrink(cells, self.image_size) for name, cells in self.read_splits().items()}

    @cached_property
    def balancing(self) -> Balancing:
        """Weights and drawing probabilities of the training part."""
        return balance_cells(self.splits["train"].labels, len(self.class_names), self.balance)

    @property
    def resolution(self) -> str:
        """Whether the network sees ``native`` pixels or ``28 enlarged to 224``."""
        stored = self.splits["train"].images.shape[1]
        return f"{stored} native" if stored == self.image_size else f"{stored} enlarged to {self.image_size}"

    def facts(self) -> dict[str, str]:
        """Say what a run needs to know of its data: name, hashes, resolution, cells per split."""
        return {
            "data.name": type(self).__name__,
            "data.sha256": self.fingerprint(),
            "data.resolution": self.resolution,
            "data.cells": ", ".join(f"{len(cells)} {name}" for name, cells in self.splits.items()),
            "split.sha256": split_sha256({str(name): cells for name, cells in self.splits.items()}),
        }

    def setup(self, stage: str | None = None) -> None:
        """Read the splits, so that what is wrong with the data shows before training."""
        _ = self.splits, self.balancing

    def state_dict(self) -> dict[str, int]:
        """Keep the number of the next epoch: workers of a resumed run fetch batches before Lightning tells them the epoch."""
        return {"next_epoch": self.trainer.current_epoch + 1 if self.trainer else 0}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on with the epoch that a checkpoint leads to."""
        self.first_epoch = state_dict["next_epoch"]

    def train_dataloader(self) -> DataLoader[CellBatch]:
        """Load the training part: balanced, shuffled, augmented."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[CellBatch]:
        """Load the validation part, in order."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[CellBatch]:
        """Load the test part, in order."""
        return self._loader("test")

    def _loader(self, split: SplitName) -> DataLoader[CellBatch]:
        cells, training = self.splits[split], split == "train"
        weights = self.balancing.weights if training else np.ones(len(cells), np.float32)
        sampler = EpochSampler(
            len(cells),
            shuffle=training,
            seed=self.seed,
            rank=self.trainer.global_rank if self.trainer else 0,
            world_size=self.trainer.world_size if self.trainer else 1,
            probabilities=self.balancing.probabilities if training else None,
        )
        sampler.set_epoch(self.first_epoch)
        # Batch normalisation over the 1x1 maps of small images cannot be trained on one image.
        drop_last = training and len(sampler) > 1 and len(sampler) % self.batch_size == 1
        return DataLoader(
            CellDataset(cells, weights, self.pipeline if training else None, self.seed),
            batch_size=self.batch_size,
            sampler=sampler,
            drop_last=drop_last,
            num_workers=self.num_workers,
            collate_fn=keep_batch,  # type: ignore[arg-type]
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0 and training,
        )


def refuse_below(least: int, **values: int) -> None:
    """Refuse arguments of a data module that are too small.

    Raises:
        UserError: with name, value and the smallest allowed.
    """
    for name, value in values.items():
        if value < least:
            raise UserError(f"--data.{name} is {value}, it must be {least} or more")


def shrink(cells: CellImages, image_size: int) -> CellImages:
    """Shrink images that are larger than the network sees, once, by area averaging; smaller ones stay."""
    if cells.images.shape[1] <= image_size:
        return cells
    shape = (image_size, image_size)
    images = np.stack([cv2.resize(image, shape, interpolation=cv2.INTER_AREA) for image in cells.images])
    return CellImages(images.astype(np.uint8, copy=False), cells.labels, cells.ids)
