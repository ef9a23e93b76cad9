"""The data module that all data sets share: split, balance, transform, load."""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from bcc_lightning.argument_types import check_types
from bcc_lightning.balancing.balance import Balance, Balancing, Draws, balance_cells
from bcc_lightning.balancing.smote import refuse_single_cells
from bcc_lightning.datasets.batches import CellBatch, CellDataset, EpochSampler, in_laboratories, keep_batch
from bcc_lightning.datasets.cells import CellImages, resolution, shrink, split_sha256, with_synthetic_cells
from bcc_lightning.datasets.external import ExternalSet, TrainedOn, read_external_sets
from bcc_lightning.datasets.few_shot import FewShot, FewShotSet, draw_few, few_notices, read_few_shot_set, refuse_few_among
from bcc_lightning.datasets.identity import identify, whole
from bcc_lightning.datasets.listing import SPLITS
from bcc_lightning.datasets.places import data_folder
from bcc_lightning.datasets.spelling import SetName
from bcc_lightning.datasets.split_file import read_split
from bcc_lightning.datasets.splits import Codes, SplitPlan, cut_notices, divide, group_notices, set_notices
from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.metrics import TEST, VALIDATION
from bcc_lightning.safe_names import refuse_names
from bcc_lightning.transforms.laboratory import Laboratories, Part
from bcc_lightning.transforms.mixing import MixingName, make_mixing
from bcc_lightning.transforms.pipelines import batch_entropy, make_pipeline

AUTOMATIC_WORKERS = 4
BEFORE_TRAINING = -1
"""Epoch whose draws validation cells have."""


class CellDataModule(LightningDataModule):
    """Base of all data modules.

    A data set states `class_names` and `folder`, and fills in `read` and `fingerprint`. Splitting comes first, then balancing
    and augmentation of the training set alone.

    Args:
        root: folder of this data set; by default ``$BCC_DATA_DIR/<folder>``, or ``data/<folder>``.
        image_size: side in pixels that the network sees. Larger stored images are shrunk once when read; smaller ones are
            enlarged on the device.
        batch_size: cells per batch and process.
        num_workers: processes that load the training set; by default none if loading only slices an array, else up to 4.
        augment: augmentation of the training set: a name that `python -m bcc_lightning` lists, a YAML file, or a
            mapping.
        laboratory: differences between laboratories that training draws for each cell: ``all``, or some parts, such as
            ``[stain, light]``, see `bcc_lightning.transforms.laboratory.Part`. Validation during training draws them too, always
            the same.
        views: laboratories in which a training cell is shown at once; `batch_size` cells make `views` times as many images.
        balance: correction for rare classes in the training set.
        mixing: ``mixup``, ``cutmix``, or either for each training batch.
        mixup_alpha: of MixUp's Beta distribution.
        cutmix_alpha: of CutMix's Beta distribution.
        seed: seed of order and augmentation; follows ``--seed_everything``.
        split_file: CSV with the columns ``id`` and ``split``, as each run files one; replaces every other split.
        split_seed: seed of a split that is made here.
        val_share: share of the cells for the validation set, if the data set has none; with `folds` it is cut from the
            training folds.
        test_share: share of the cells for the test set, if the data set has none.
        folds: number of folds of a cross-validation; 0 for none.
        fold: which fold is held out; ``--folds`` of `fit` goes through all.
        few_shot: trains on so many cells of each class only, drawn by `split_seed`: ``10`` of the training set, or ``lab.csv:10``
            of another laboratory, whose other cells become a further test set.
        test_on: further test sets, each with its own metrics: folders of class folders, below ``$BCC_DATA_DIR`` or anywhere,
            or tables.
        class_map: classes of further test sets and what they are called here, e.g. ``{NEUT: neutrophil}``;
            None leaves a class out.
    """

    class_names: tuple[str, ...]
    folder: str
    levels: dict[str, list[str]] | None = None
    """Levels above the classes, where these stand in a tree; see `bcc_lightning.datasets.lineage`."""

    def __init__(
        self,
        root: str | None = None,
        image_size: int = 64,
        batch_size: int = 32,
        num_workers: int | None = None,
        augment: str | dict[str, Any] = "none",
        laboratory: Literal["none", "all"] | list[Part] = "none",
        views: int = 1,
        balance: Balance = "none",
        mixing: MixingName = "none",
        mixup_alpha: float = 0.2,
        cutmix_alpha: float = 1.0,
        seed: int = 0,
        split_file: str | None = None,
        split_seed: int = 0,
        val_share: float = 0.1,
        test_share: float = 0.2,
        folds: int = 0,
        fold: int = 0,
        few_shot: int | str | None = None,
        test_on: list[str] | None = None,
        class_map: dict[str, str | None] | None = None,
    ) -> None:
        check_types("data", CellDataModule, locals())
        super().__init__()
        refuse_below(1, image_size=image_size, batch_size=batch_size)
        refuse_below(0, num_workers=num_workers or 0)
        self.root = Path(root) if root else data_folder(self.folder)
        self.image_size = image_size
        self.batch_size = batch_size
        self.augment = augment
        self.pipeline = None if augment == "none" else make_pipeline(augment)
        automatic = min(AUTOMATIC_WORKERS, os.cpu_count() or 1) if self.pipeline else 0
        self.num_workers = automatic if num_workers is None else num_workers
        refuse_below(1, views=views)
        self.views = views
        self.laboratories = None if laboratory == "none" else Laboratories(laboratory)
        self.balance = balance
        self.mixing = make_mixing(mixing, mixup_alpha, cutmix_alpha)
        self.seed = seed
        self.split_file = Path(split_file) if split_file else None
        self.split_plan = SplitPlan(val_share, test_share, split_seed, folds, fold)
        self.few_shot = FewShot.of(few_shot)
        if self.few_shot and folds:
            raise UserError("--data.few_shot and --data.folds exclude one another; draw other cells with --data.split_seed")
        self.test_on = test_on or []
        self.class_map = class_map or {}
        self.first_epoch = 0

    def read(self) -> CellImages:
        """Read all cells, with the split that the data set's makers chose, if any; called once."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        """Hash the files or arrays that hold the pixels, SHA-256 in hexadecimal."""
        raise NotImplementedError

    def identity(self) -> dict[str, str]:
        """Hash the components of the data set: pixels, ids, labels, groups, weights, classes; see `identify`."""
        few = {"few_shot": self.few_shot_set.sha256} if self.few_shot_set else {}
        return {**self._identity, **few}

    @cached_property
    def _identity(self) -> dict[str, str]:
        return identify(self.fingerprint(), self.cells, self.class_names)

    @cached_property
    def cells(self) -> CellImages:
        """All cells, shrunk to the image size where they are larger."""
        given = self.read()
        self.given_side = given.side
        return shrink(given, self.image_size)

    @property
    def native_side(self) -> int:
        """Side in pixels of the images before any of them is shrunk."""
        _ = self.cells
        return self.given_side

    @cached_property
    def codes(self) -> Codes:
        """(N,) int8, split of each cell."""
        return self.codes_of(self.split_plan)

    def codes_of(self, plan: SplitPlan) -> Codes:
        """Divide the cells: by the split file, else as published, else here; folds leave a test set that is given alone.

        Args:
            plan: shares, seed and fold.

        Returns:
            (N,) int8, split of each cell.
        """
        cells = self.cells
        given = cells.splits if self.split_file is None else read_split(self.split_file, cells, self.dropped).codes
        return divide(plan, cells.labels, given, cells.groups, self.group_names, self.class_names)

    def fold_sizes(self) -> list[dict[SetName, int]]:
        """Count the training, validation and test cells of each fold of one cross-validation."""
        plans = [replace(self.split_plan, fold=fold) for fold in range(self.split_plan.folds)]
        counts = [np.bincount(self.codes_of(plan), minlength=len(SPLITS)) for plan in plans]
        return [{name: int(count[code]) for code, name in enumerate(SPLITS)} for count in counts]

    @cached_property
    def division(self) -> dict[SetName, CellImages]:
        """Training, validation and test set, with all cells."""
        return {name: self.cells.part(np.flatnonzero(self.codes == code)) for code, name in enumerate(SPLITS)}

    @cached_property
    def splits(self) -> dict[SetName, CellImages]:
        """The three sets as they are used: with `few_shot` the training set has few cells, maybe of another laboratory."""
        few, train = self.few_shot, self.division["train"]
        if few and self.few_shot_set:
            train = self.few_shot_set.trained
        elif few:
            train = train.part(draw_few(train.labels, few.per_class, self.split_plan.seed))
        return {**self.division, "train": train}

    @cached_property
    def few_shot_set(self) -> FewShotSet | None:
        """The other laboratory of `few_shot`, if it names one."""
        few = self.few_shot
        return read_few_shot_set(few, self.as_trained_on(), self.split_plan.seed) if few and few.place else None

    @cached_property
    def external(self) -> dict[str, CellImages]:
        """The further test sets by name, with the labels of this data set."""
        return {name: found.cells for name, found in self.external_sets.items()}

    @cached_property
    def external_sets(self) -> dict[str, ExternalSet]:
        """The further test sets by name, with what is to be known of them."""
        few = {self.few_shot_set.name: self.few_shot_set.tested} if self.few_shot_set else {}
        if self.class_map and not (self.test_on or few):
            named = f"--data.class_map names {', '.join(self.class_map)}, but there is no further test set"
            raise UserError(f"{named}; --data.classes says which classes are trained on")
        further = read_external_sets(self.test_on, self.as_trained_on(), few) if self.test_on or few else {}
        if self.few_shot_set and self.few_shot_set.name in further:
            raise UserError(
                f"--data.test_on and --data.few_shot both name {self.few_shot_set.name}: few cells of it are trained on, and all "
                "others are tested on already; leave it out of --data.test_on"
            )
        if self.few_shot_set:
            refuse_few_among(self.few_shot_set, further)
        return {**few, **further}

    def as_trained_on(self) -> TrainedOn:
        """Describe this data set to the further test sets."""
        # At the side at which its own images are stored: cells of 28 pixels that are enlarged stay what the network knows.
        return TrainedOn(self.class_names, min(self.image_size, self.native_side), self.class_map)

    def evaluated_cells(self, name: str) -> CellImages:
        """Return the cells of a set that chosen weights are evaluated on: ``test``, ``validation`` or a further test set."""
        own = {TEST: self.splits["test"], VALIDATION: self.splits["val"]}
        return own[name] if name in own else self.external[name]

    @cached_property
    def balancing(self) -> Balancing:
        """Weights and draws of the training cells."""
        cells = self.training_cells
        return balance_cells(cells.labels, len(self.class_names), self.balance, self.class_names, cells.laboratories)

    @cached_property
    def training_cells(self) -> CellImages:
        """The training set, with the cells that SMOTE adds."""
        train = self.splits["train"]
        if self.balance != "smote":
            return train
        refuse_single_cells(train.labels, self.class_names)
        return with_synthetic_cells(train, self.seed)

    @property
    def dropped(self) -> list[str]:
        """Ids of cells that were left out, such as copies."""
        return []

    @property
    def group_names(self) -> Sequence[str]:
        """Names of the groups, which the groups of the cells are numbers of."""
        return ()

    def file_notices(self) -> list[str]:
        """Describe what was read under several spellings and what was left out, before an image is decoded."""
        return []

    def notices(self) -> list[str]:
        """Describe what a person should know before training: spellings, what is left out, classes that a set lacks.

        Returns:
            Plain sentences, each in one line.
        """
        cells, codes = self.cells, self.codes
        found = [*self.file_notices(), *set_notices(cells.labels, codes, self.class_names)]
        if cells.groups is not None:
            sets = self.split_plan.folds or len(SPLITS)
            found += group_notices(cells.labels, cells.groups, self.class_names, self.group_names, sets)
        if self.split_file is not None:
            found += read_split(self.split_file, cells, self.dropped).notices
        elif cells.splits is not None and not self.split_plan.left_out:
            found += cut_notices(cells.splits, codes)
        if self.few_shot and not self.few_shot_set:
            found += few_notices(self.splits["train"].labels, self.few_shot.per_class, self.class_names)
        return found + [f"{name}: {notice}" for name, one in self.external_sets.items() for notice in one.notices]

    @property
    def is_balanced_folder(self) -> bool:
        """Whether the training set was balanced when it was written out."""
        return False

    @property
    def resolution(self) -> str:
        """Whether the network sees ``28 native``, ``28 enlarged to 224`` or ``360 shrunk to 96`` pixels."""
        return resolution(self.native_side, self.image_size)

    def facts(self) -> dict[str, str]:
        """Return what a run records of its data: name, hashes, resolution, cells per split."""
        return {
            "data.name": type(self).__name__,
            "data.sha256": whole(self.identity()),
            "data.resolution": self.resolution,
            "data.cells": ", ".join(f"{len(cells)} {name}" for name, cells in self.splits.items()),
            "split.sha256": split_sha256(self.division),
            **({"data.few_shot": str(self.few_shot)} if self.few_shot else {}),
        }

    def record(self) -> dict[str, Any]:
        """Return what must be the same when a run is resumed: hashes, of single components too, and classes."""
        facts = self.facts()
        hashes = {name: facts[name] for name in ("data.sha256", "split.sha256")}
        return {**hashes, "classes": list(self.class_names), "components": self.identity()}

    def setup(self, stage: str | None = None) -> None:
        """Read the splits, so that what is wrong with the data shows before training."""
        _ = self.splits, self.balancing, self.external
        refuse_names(self.class_names, self.external, folds=self.split_plan.folds > 0)

    def state_dict(self) -> dict[str, int]:
        """Keep the number of the next epoch: workers of a resumed run fetch batches before Lightning tells them the epoch."""
        return {"next_epoch": self.trainer.current_epoch + 1 if self.trainer else 0}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on with the epoch that a checkpoint leads to."""
        self.first_epoch = state_dict["next_epoch"]

    @property
    def has_batches_of_one(self) -> bool:
        """Whether a training batch holds a single image; a single one that is left over after the others is left out."""
        return self.batch_size == 1 or self.balancing.draws.size == 1

    def train_dataloader(self) -> DataLoader[CellBatch]:
        """Load the training set: balanced, shuffled, augmented."""
        cells = self.training_cells
        weights = self.balancing.weights if cells.weights is None else self.balancing.weights * cells.weights
        sampler = self._sampler(len(cells), self.balancing.draws)
        sampler.set_epoch(self.first_epoch)
        if getattr(self.trainer, "overfit_batches", 0):  # Lightning then takes the first cells, which may be of one class
            mixed = np.random.default_rng(self.seed).permutation(len(cells))
            cells, weights = cells.part(mixed), weights[mixed]
        # Batch normalisation over the 1x1 maps of small images cannot be trained on one image.
        drop_last = len(sampler) > 1 and len(sampler) % self.batch_size == 1
        dataset = CellDataset(cells, weights, self.pipeline, self.seed, self.mixing, len(self.class_names))
        return self._loader(dataset, sampler, drop_last, self.num_workers)

    def transfer_batch_to_device(self, batch: CellBatch, device: torch.device, dataloader_idx: int) -> CellBatch:
        """Draw a laboratory for each cell, where the batch is: another in each epoch, and always the same in validation."""
        moved: CellBatch = super().transfer_batch_to_device(batch, device, dataloader_idx)
        if self.laboratories is None or self.trainer is None or not (self.trainer.training or self.trainer.validating):
            return moved
        epoch, views = (self.trainer.current_epoch, self.views) if self.trainer.training else (BEFORE_TRAINING, 1)
        # Of the batch before it was moved: reading positions back would wait until a GPU has finished the step before.
        entropy = batch_entropy(self.seed, epoch, batch.position.numpy())
        return in_laboratories(moved, self.laboratories, entropy, views)

    def val_dataloader(self) -> DataLoader[CellBatch]:
        """Load the validation set, in order."""
        return self.evaluation_loader(VALIDATION)

    def test_dataloader(self) -> DataLoader[CellBatch]:
        """Load the test set, in order."""
        return self.evaluation_loader(TEST)

    def evaluation_loader(self, name: str) -> DataLoader[CellBatch]:
        """Load an evaluated set in order, each cell once, with equal weights; names as in `evaluated_cells`."""
        cells = self.evaluated_cells(name)
        # Without augmentation loading only slices an array: starting processes for that takes longer than the slicing.
        return self._loader(CellDataset(cells, np.ones(len(cells), np.float32), name=name), self._sampler(len(cells)))

    def _sampler(self, size: int, draws: Draws | None = None) -> EpochSampler:
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return EpochSampler(size, draws is not None, self.seed, rank, world_size, draws=draws)

    def _loader(
        self, dataset: CellDataset, sampler: EpochSampler, drop_last: bool = False, workers: int = 0
    ) -> DataLoader[CellBatch]:
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            drop_last=drop_last,
            num_workers=workers,
            collate_fn=keep_batch,  # type: ignore[arg-type]
            pin_memory=torch.cuda.is_available(),
            persistent_workers=workers > 0,
        )


def refuse_below(least: int, **values: int) -> None:
    """Refuse arguments of a data module that are too small.

    Raises:
        UserError: with name, value and the smallest allowed.
    """
    for name, value in values.items():
        if value < least:
            raise UserError(f"--data.{name} is {value}, it must be {least} or more")
