"""Loading: the same numbers with any number of workers, fresh random numbers in each, one copy of the data."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import albumentations as A  # noqa: N812 - the library's own spelling
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from bcc_lightning.datamodules import SyntheticSmear
from bcc_lightning.datasets import batches as cell_images
from bcc_lightning.datasets.batches import CellBatch, CellDataset, EpochSampler
from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.fit import main
from tests.miniature import SMALL

pytestmark = pytest.mark.slow


def test_same_numbers_with_no_and_two_workers(tmp_path: Path) -> None:
    metrics = []
    for workers in ("0", "2"):
        flags = ["--data.num_workers", workers, "--data.augment", "standard", "--trainer.max_epochs", "2"]
        assert main([*SMALL, *flags, "--summary", f"{workers}.json"]) == 0
        metrics.append(json.loads((tmp_path / f"{workers}.json").read_text())["metrics"])
    assert metrics[0] == metrics[1]
    assert metrics[0]["train/loss"] > 0


def draw_epochs(workers: int, persistent: bool, epochs: int = 2) -> list[torch.Tensor]:
    """Load cells that are all alike, so that only the random numbers of the pipeline differ."""
    data = SyntheticSmear(
        train_cells=64, val_cells=8, test_cells=8, image_size=32, batch_size=8, augment="standard", num_workers=workers
    )
    data.setup()
    data.pipeline = A.Compose([A.Affine(rotate=(-180, 180), scale=(0.8, 1.2), p=1)])
    data.training_cells = data.splits["train"].part(np.zeros(64, np.int64))
    loader = data.train_dataloader()
    if workers and not persistent:
        loader = DataLoader(loader.dataset, batch_sampler=loader.batch_sampler, num_workers=workers, collate_fn=loader.collate_fn)
    drawn = []
    for epoch in range(epochs):
        loader.batch_sampler.sampler.set_epoch(epoch)  # type: ignore[union-attr]
        drawn.append(torch.cat([batch.image for batch in loader]))
    return drawn


def repeats(images: torch.Tensor) -> int:
    """Count images that equal another one."""
    return len(images) - len(torch.unique(images.flatten(1), dim=0))


@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (2, False), (2, True)])
def test_no_augmentation_is_drawn_twice(workers: int, persistent: bool) -> None:
    assert repeats(torch.cat(draw_epochs(workers, persistent))) == 0


@pytest.mark.parametrize("persistent", [False, True])
def test_without_the_cure_workers_repeat_each_other(monkeypatch: pytest.MonkeyPatch, persistent: bool) -> None:
    monkeypatch.setattr(cell_images, "seed_pipeline", lambda *_: None)
    assert repeats(torch.cat(draw_epochs(2, persistent))) >= 32


def test_augmentation_follows_seed_epoch_and_cell_only() -> None:
    first, second = draw_epochs(0, False), draw_epochs(2, True)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_each_cell_is_drawn_once_an_epoch_in_a_new_order() -> None:
    sampler = EpochSampler(10, shuffle=True, seed=3)
    orders = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        orders.append([draw.position for draw in sampler])
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(10))
    assert orders[0] != orders[1]


@pytest.mark.parametrize("size", [7, 8])
def test_processes_share_the_cells(size: int) -> None:
    training = [list(EpochSampler(size, shuffle=True, rank=rank, world_size=2)) for rank in range(2)]
    assert len(training[0]) == len(training[1]) == 4
    assert {draw.position for part in training for draw in part} == set(range(size))
    evaluation = [[draw.position for draw in EpochSampler(size, shuffle=False, rank=rank, world_size=2)] for rank in range(2)]
    assert sorted(evaluation[0] + evaluation[1]) == list(range(size))


def test_loader_drops_a_last_batch_of_one_image() -> None:
    data = SyntheticSmear(train_cells=17, val_cells=9, test_cells=8, image_size=16, batch_size=8)
    assert [len(batch.label) for batch in data.train_dataloader()] == [8, 8]
    assert [len(batch.label) for batch in data.val_dataloader()] == [8, 1]


def test_batches_are_uint8_and_channels_last() -> None:
    data = SyntheticSmear(train_cells=8, val_cells=8, test_cells=8, image_size=16, batch_size=8, augment="light")
    batch = next(iter(data.train_dataloader()))
    assert batch.image.dtype == torch.uint8
    assert batch.image.shape == (8, 3, 16, 16)
    assert batch.image.is_contiguous(memory_format=torch.channels_last)


def proportional_memory(pid: int) -> int:
    """Read a process's share of memory in bytes, shared pages divided among those who share them."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="the kernel does not tell how memory is shared")
def test_data_are_held_once_and_not_once_per_worker() -> None:
    size = 300_000_000
    images = np.ones((size // (100 * 100 * 3), 100, 100, 3), np.uint8)
    cells = CellImages(images, np.zeros(len(images), np.int64), range(len(images)))  # type: ignore[arg-type]
    before = proportional_memory(os.getpid())
    dataset = CellDataset(cells, np.ones(len(images), np.float32))
    sampler = torch.utils.data.BatchSampler(EpochSampler(len(images), shuffle=True), 500, drop_last=False)  # type: ignore[arg-type]
    loader: DataLoader[CellBatch] = DataLoader(dataset, batch_sampler=sampler, num_workers=2, collate_fn=cell_images.keep_batch)
    batches: Iterator[CellBatch] = iter(loader)
    for _ in range(10):  # half of all pages have been read by the workers then
        next(batches)
    workers = [worker.pid for worker in batches._workers]  # type: ignore[attr-defined]
    together = sum(proportional_memory(pid) for pid in [os.getpid(), *workers])
    assert together - before < size  # a copy in each worker would add twice the size
