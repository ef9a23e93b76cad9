"""Speed of `embed` beside a bare loop over batches of the same images that are already in memory: images per second, in turn.

python benchmarks/embed_speed.py --root /cells/pbc --side 96
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from bcc_lightning import PBC
from bcc_lightning.cli.command import quieten
from bcc_lightning.embedding.choices import BATCH
from bcc_lightning.embedding.extractor import Extractor
from bcc_lightning.embedding.features import write_features


def main() -> None:
    """Print both speeds of each round, and the median of their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder of the PBC set, or of any crop of it")
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--cells", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    quieten()
    data = PBC(root=options.root, image_size=options.side)
    data.prepare_data()
    cells = data.splits["train"].part(np.arange(options.cells))
    extractor = Extractor.of_backbone(options.backbone, options.side)
    pixels = torch.from_numpy(np.ascontiguousarray(cells.take(slice(None)))).permute(0, 3, 1, 2).contiguous()

    def bare() -> None:
        """Run the network over images in memory."""
        with torch.inference_mode():
            for start in range(0, len(pixels), BATCH):
                extractor.network(pixels[start : start + BATCH])

    def embed(folder: str) -> None:
        """Read, compute and write, as the command does."""
        write_features(cells, extractor, Path(folder) / "features.npy", BATCH, "cells")

    def seconds(function: Callable[[], None]) -> float:
        """Time a call."""
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    ratios = []
    with TemporaryDirectory() as folder:
        bare()
        for _ in range(options.rounds):
            loop, command = seconds(bare), seconds(lambda: embed(folder))
            ratios.append(loop / command)
            print(
                f"bare loop {len(pixels) / loop:.1f}, embed {len(pixels) / command:.1f} images/s, ratio {ratios[-1]:.3f}",
                flush=True,
            )
    print(f"median ratio {np.median(ratios):.3f}")


if __name__ == "__main__":
    main()
