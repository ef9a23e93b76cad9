"""Images per second of each augmentation pipeline on one core, and the time that the loader adds.

Alone: Albumentations' own Compose, called in a loop, its results discarded. By hand: the same, in random order and stacked into
batches of tensors, as in a hand-written training loop. The loader also seeds each batch. All three run alternately in one
process; speed is the median of the rounds, and the loader's overhead over the loop by hand is taken per round, so that a drift in
the machine's speed does not matter. Time is processor time. Other programs still affect it through the memory; the fastest rounds
of each, in the last column, are affected least.

    python benchmarks/pipelines.py --sizes 28 64 96 224 --rounds 5
"""

import argparse
import statistics
import time
from typing import NamedTuple

import cv2
import numpy as np
import torch

from bcc_lightning.datamodules import SyntheticSmear
from bcc_lightning.datasets.batches import EpochSampler
from bcc_lightning.datasets.smear_painter import paint_cells
from bcc_lightning.transforms.operations import Pixels
from bcc_lightning.transforms.pipelines import Pipeline, make_pipeline
from bcc_lightning.transforms.recipes import PIPELINES

SIZES = (28, 64, 96, 224)
PIXELS = 256 * 96 * 96
"""Number of pixels per round, so that a round takes about the same time at any size."""


class Speeds(NamedTuple):
    """Images per second of one round."""

    alone: float
    by_hand: float
    loader: float

    @property
    def added(self) -> float:
        """Overhead of the loader over the loop by hand, in per cent."""
        return 100 * (self.by_hand / self.loader - 1)


def alone(images: list[Pixels], pipeline: Pipeline) -> float:
    """Return images per second of Albumentations in a loop."""
    start = time.process_time()
    for image in images:
        pipeline(image=image)
    return len(images) / (time.process_time() - start)


def by_hand(images: list[Pixels], pipeline: Pipeline, batch_size: int, epoch: int) -> float:
    """Return images per second of hand-written batches in random order."""
    start = time.process_time()
    order = np.random.default_rng(epoch).permutation(len(images))
    for first in range(0, len(images), batch_size):
        rows = order[first : first + batch_size]
        torch.from_numpy(np.stack([pipeline(image=images[row])["image"] for row in rows])).permute(0, 3, 1, 2)
    return len(images) / (time.process_time() - start)


def by_loader(data: SyntheticSmear, epoch: int) -> float:
    """Return images per second of the training loader without workers."""
    loader = data.train_dataloader()
    if isinstance(loader.sampler, EpochSampler):
        loader.sampler.set_epoch(epoch)
    start = time.process_time()
    cells = sum(len(batch.label) for batch in loader)
    return cells / (time.process_time() - start)


def measure(augment: str, size: int, batch_size: int, rounds: int) -> list[Speeds]:
    """Run the three alternately, after one run to warm up."""
    cells = PIXELS // size**2 // batch_size * batch_size
    data = SyntheticSmear(cells, 8, 8, image_size=size, batch_size=batch_size, num_workers=0, augment=augment)
    data.setup()
    images = list(paint_cells(np.arange(cells) % 8, size, 0.3, 0))
    pipeline = make_pipeline(augment)
    if pipeline is None:
        raise SystemExit(f"{augment} has no steps to measure")
    return [
        Speeds(alone(images, pipeline), by_hand(images, pipeline, batch_size, epoch), by_loader(data, epoch))
        for epoch in range(rounds + 1)
    ][1:]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipelines", nargs="+", choices=PIPELINES, default=[name for name in PIPELINES if name != "none"])
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    print("| pipeline | pixels | alone, images/s | by hand, images/s | loader, images/s | loader adds | fastest rounds |")
    print("|---|---|---|---|---|---|---|")
    for name in arguments.pipelines:
        for size in arguments.sizes:
            rounds = measure(name, size, arguments.batch_size, arguments.rounds)
            speeds = " | ".join(f"{statistics.median(each):,.0f}" for each in zip(*rounds, strict=True))
            added = statistics.median(each.added for each in rounds)
            fastest = Speeds(*(max(each) for each in zip(*rounds, strict=True))).added
            print(f"| {name} | {size} | {speeds} | {added:+.0f} % | {fastest:+.0f} % |", flush=True)


if __name__ == "__main__":
    main()
