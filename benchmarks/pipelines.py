"""Images per second of each augmentation pipeline on one core, and what the loader adds.

By hand: the same Albumentations Compose called in a loop over the same cells. The pipeline as the loader runs it is seeded for each
batch, its images are stacked and handed over as a tensor. Both run in turn in one process; speed is the median of the rounds, and
the ratio is taken round by round, so that a drifting machine does not decide.

    python benchmarks/pipelines.py --sizes 28 64 96 224 --rounds 5
"""

import argparse
import statistics
import time

import cv2
import numpy as np
import torch

from bcc_lightning.datamodules import SyntheticSmear
from bcc_lightning.datamodules.sampling import EpochSampler
from bcc_lightning.datamodules.smear_painter import paint_cells
from bcc_lightning.transforms.operations import Pixels
from bcc_lightning.transforms.pipelines import PIPELINES, make_pipeline, pipeline_steps


def by_hand(images: list[Pixels], augment: str) -> float:
    """Call Albumentations in a loop: images per second."""
    pipeline = make_pipeline({"steps": pipeline_steps(augment)})
    start = time.perf_counter()
    for image in images:
        if pipeline is not None:
            pipeline(image=image)
    return len(images) / (time.perf_counter() - start)


def by_loader(data: SyntheticSmear, epoch: int) -> float:
    """Iterate over the training loader without workers: images per second."""
    loader = data.train_dataloader()
    if isinstance(loader.sampler, EpochSampler):
        loader.sampler.set_epoch(epoch)
    start = time.perf_counter()
    cells = sum(len(batch.label) for batch in loader)
    return cells / (time.perf_counter() - start)


def measure(augment: str, size: int, cells: int, batch_size: int, rounds: int) -> list[tuple[float, float]]:
    """Run both in turn: images per second by hand and by the loader, for each round."""
    data = SyntheticSmear(cells, 8, 8, image_size=size, batch_size=batch_size, num_workers=0, augment=augment)
    data.setup()
    images = list(paint_cells(np.arange(cells) % 8, size, 0.3, 0))
    by_hand(images[:batch_size], augment)  # the first calls of OpenCV are slower
    return [(by_hand(images, augment), by_loader(data, epoch)) for epoch in range(rounds)]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipelines", nargs="+", choices=PIPELINES, default=[name for name in PIPELINES if name != "none"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[28, 64, 96, 224])
    parser.add_argument("--cells", type=int, default=480, help="cells per round; at 224 pixels a quarter")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    print(
        "| pipeline | pixels | by hand, images/s | loader, images/s | loader adds | smallest to largest |\n|---|---|---|---|---|---|"
    )
    for name in arguments.pipelines:
        for size in arguments.sizes:
            cells = arguments.cells // 4 if size >= 200 else arguments.cells  # noqa: PLR2004 - a round lasts seconds
            rounds = measure(name, size, cells, arguments.batch_size, arguments.rounds)
            hand, loader = (statistics.median(speeds) for speeds in zip(*rounds, strict=True))
            added = sorted(100 * (hand / loader - 1) for hand, loader in rounds)
            print(
                f"| {name} | {size} | {hand:,.0f} | {loader:,.0f} | {statistics.median(added):+.1f} % "
                f"| {added[0]:+.1f} to {added[-1]:+.1f} % |",
                flush=True,
            )


if __name__ == "__main__":
    main()
