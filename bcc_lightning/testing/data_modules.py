"""What every data module promises: sets that share no image, splits that repeat, batches that a classifier takes."""

from collections.abc import Collection
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bcc_lightning.datamodules.base import CellDataModule
from bcc_lightning.datasets.batches import CellBatch
from bcc_lightning.datasets.cells import CellImages, split_sha256
from bcc_lightning.datasets.listing import SPLITS
from bcc_lightning.datasets.spelling import LONG_NAMES, SetName
from bcc_lightning.datasets.split_file import write_split

BATCH = 7
FOLDS = 3
SHA256_DIGITS = 64


class DataModuleTests:
    """Tests that every data module passes; a data set fills in `make`.

    The data need seven cells or more in each set, and three or more of each class in every set that is divided here.

    Example:
        ```python
        class TestMyCells(DataModuleTests):
            def make(self, **arguments):
                return MyCells(root="tests/cells", image_size=32, **arguments)
        ```

    Attributes:
        published_sets: the sets that the makers of the data set chose, e.g. ``("test",)``; they must never change. A training set
            of which validation cells are cut is not among them.
    """

    published_sets: Collection[SetName] = ()

    def make(self, **arguments: Any) -> CellDataModule:  # noqa: ANN401 - the data module's own arguments
        """Build the data module over a few cells.

        Args:
            **arguments: what a test needs, such as ``batch_size``, ``split_seed`` or ``folds``; to be passed on.
        """
        raise NotImplementedError

    def ready(self, **arguments: Any) -> CellDataModule:  # noqa: ANN401 - the data module's own arguments
        """Build the data module, with batches of seven cells, and read the data."""
        data = self.make(batch_size=BATCH, **arguments)
        data.prepare_data()
        data.setup()
        return data

    def test_no_cell_is_in_two_sets(self) -> None:
        """Every cell is in exactly one set, and no image is in two."""
        data = self.ready()
        sizes = {name: len(cells) for name, cells in data.splits.items()}
        assert all(sizes.values()), f"no set may be empty; there are {sizes}"
        assert len(where(data)) == sum(sizes.values()), "every cell must have an id of its own and be in one set only"
        assert sum(sizes.values()) == len(data.cells), f"every cell must be in a set; of {len(data.cells)} there are {sizes}"
        for one, other in combinations(SPLITS, 2):
            shared = len(pixels(data.splits[one]) & pixels(data.splits[other]))
            assert not shared, f"{LONG_NAMES[one]} and {LONG_NAMES[other]} set must not share an image; {shared} are in both"

    def test_every_class_is_in_every_set(self) -> None:
        """Each set has cells of each class, with labels in int64."""
        data = self.ready()
        for name, cells in data.splits.items():
            counts = dict(zip(data.class_names, cells.counts(len(data.class_names)).tolist(), strict=True))
            assert all(counts.values()), f"the {LONG_NAMES[name]} set must have cells of every class; it has {counts}"
            assert cells.labels.dtype == np.int64, f"labels must be int64, they are {cells.labels.dtype}"

    def test_batches_are_what_a_classifier_takes(self) -> None:
        """Images are (B, 3, S, S) uint8 in channels_last, labels and positions int64, weights float32."""
        data = self.ready(augment="light", num_workers=0)
        side = data.cells.side
        for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
            batch: CellBatch = next(iter(loader))
            shape = tuple(batch.image.shape)
            assert shape == (BATCH, 3, side, side), f"images must be {(BATCH, 3, side, side)}, they are {shape}"
            assert batch.image.dtype == torch.uint8, f"images must be uint8, they are {batch.image.dtype}"
            assert batch.image.is_contiguous(memory_format=torch.channels_last), "images must be in channels_last"
            assert batch.label.dtype == torch.int64, f"labels must be int64, they are {batch.label.dtype}"
            assert batch.position.dtype == torch.int64, f"positions must be int64, they are {batch.position.dtype}"
            assert batch.weight.dtype == torch.float32, f"weights must be float32, they are {batch.weight.dtype}"

    def test_validation_shows_each_cell_once_and_unchanged(self) -> None:
        """See `check_evaluation`."""
        data = self.ready(augment="standard", balance="weighted_sampler", num_workers=0)
        check_evaluation(list(data.val_dataloader()), data.splits["val"], "validation")

    def test_the_test_shows_each_cell_once_and_unchanged(self) -> None:
        """See `check_evaluation`."""
        data = self.ready(augment="standard", balance="weighted_sampler", num_workers=0)
        check_evaluation(list(data.test_dataloader()), data.splits["test"], "test")

    def test_training_follows_the_seed(self) -> None:
        """The order of the training cells and their augmentation follow the seed."""
        first, again, other = (training_batches(self.ready(augment="standard", num_workers=0, seed=seed)) for seed in (1, 1, 2))
        assert torch.equal(first, again), "with the same seed training must see the same images in the same order"
        assert not torch.equal(first, other), "with another seed training must see other images, or another order"

    def test_the_split_follows_the_seed(self) -> None:
        """The same seed gives the same split, another seed another one; published sets never change."""
        first, again, other = where(self.ready()), where(self.ready()), where(self.ready(split_seed=1))
        assert first == again, "the same split_seed must give the same split"
        for name in self.published_sets:
            before, after = ({cell for cell, place in split.items() if place == name} for split in (first, other))
            assert before == after, f"the {LONG_NAMES[name]} set must not change with the seed: it is published"
        if set(self.published_sets) < set(SPLITS):
            assert first != other, "another split_seed must give another split; if all sets are published, list them"

    def test_balance_and_augmentation_leave_the_split_alone(self) -> None:
        """The split depends on neither balancing nor augmentation, nor on the seed of the training."""
        changed = self.ready(augment="standard", balance="class_weights", seed=3)
        assert where(changed) == where(self.ready()), "balance, augmentation and seed must not change the split"

    def test_a_split_given_back_is_the_same(self, tmp_path: Path) -> None:
        """A split that is written to a file and given back is the same, also by its hash."""
        data = self.ready(split_seed=4)
        write_split(data.division, tmp_path / "split.csv")
        again = self.ready(split_file=str(tmp_path / "split.csv"))
        assert where(again) == where(data), "--data.split_file must give the split that was written"
        assert split_sha256(again.splits) == data.facts()["split.sha256"], "the split that was given back must have the same hash"

    def test_folds_hold_out_each_cell_once(self) -> None:
        """Three folds hold out every cell once: for validation where the test set is published, else for the test."""
        fixed = "test" in self.published_sets
        held: SetName = "val" if fixed else "test"
        folds = [self.ready(folds=FOLDS, fold=fold) for fold in range(FOLDS)]
        out = sorted(cell for data in folds for cell in data.splits[held].ids)
        whole = self.ready()
        test_cells = set(whole.splits["test"].ids) if fixed else set()
        assert out == sorted(set(whole.cells.ids) - test_cells), (
            f"the {LONG_NAMES[held]} sets of all folds together must hold every cell once"
            + (", but those of the published test set" if fixed else "")
        )
        assert len({data.facts()["split.sha256"] for data in folds}) == FOLDS, "every fold must have a split of its own"

    def test_repeated_folds_divide_anew(self) -> None:
        """The first fold after all others begins another division."""
        first, repeated = (where(self.ready(folds=FOLDS, fold=fold)) for fold in (0, FOLDS))
        assert first != repeated, "repeated folds must divide the cells anew"

    def test_facts_name_the_data(self) -> None:
        """A run can say what it was trained on, and says the same again."""
        facts = self.ready().facts()
        missing = {"data.name", "data.sha256", "data.resolution", "data.cells", "split.sha256"} - set(facts)
        assert not missing, f"facts() must name {', '.join(sorted(missing))}"
        for name in ("data.sha256", "split.sha256"):
            assert len(facts[name]) == SHA256_DIGITS, f"{name} must be a SHA-256 in hexadecimal, it is {facts[name]}"
        assert self.ready().facts() == facts, "facts() must be the same for the same data"


def check_evaluation(batches: list[CellBatch], cells: CellImages, name: str) -> None:
    """Check that a set is evaluated cell by cell, in order, with its own labels and unchanged images, all of equal weight.

    Args:
        batches: the batches of its loader.
        cells: the set.
        name: what it is called in messages.
    """
    positions = torch.cat([batch.position for batch in batches]).tolist()
    assert positions == list(range(len(cells))), f"the {name} set must show each cell once and in order"
    labels = torch.cat([batch.label for batch in batches]).numpy()
    np.testing.assert_array_equal(labels, cells.labels, f"the {name} set must show each cell with its own label")
    seen = torch.cat([batch.image for batch in batches]).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(seen, cells.take(slice(None)), f"images of the {name} set must not be augmented")
    assert all((batch.weight == 1).all() for batch in batches), f"cells of the {name} set must all have weight 1"


def training_batches(data: CellDataModule) -> torch.Tensor:
    """Read all images of one training epoch, (N, 3, S, S) uint8."""
    return torch.cat([batch.image for batch in data.train_dataloader()])


def where(data: CellDataModule) -> dict[str, str]:
    """Map the id of each cell to the name of its set."""
    return {cell: name for name, cells in data.splits.items() for cell in cells.ids}


def pixels(cells: CellImages) -> set[bytes]:
    """Collect the images of cells as bytes."""
    return {image.tobytes() for image in cells.take(slice(None))}
