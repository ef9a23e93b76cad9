"""Time and memory of a folder of images by its number of files: first start, second start, an epoch.

Files are written once into ``--out`` and kept. Anonymous memory is the process's own; pages of the memory-mapped cache, which the
system shares and releases when needed, count only in the resident size.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

SIDE = 28
CLASSES = 8
STAGE = "--stage"
STAGES = ("first", "second", "epoch")


def write_files(folder: Path, rows: int) -> None:
    """Write noise as PPM files into class folders; existing files are kept."""
    rng = np.random.default_rng(0)
    head = f"P6 {SIDE} {SIDE} 255\n".encode()
    for row in range(rows):
        file = folder / f"class_{row % CLASSES}" / f"{row:07d}.ppm"
        if not file.parent.is_dir():
            file.parent.mkdir(parents=True)
        if not file.is_file():
            file.write_bytes(head + rng.bytes(SIDE * SIDE * 3))


def memory(kind: str) -> float:
    """Return a value of this process's memory in MiB: ``VmHWM``, ``VmRSS`` or ``RssAnon``."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) / 1024


class PeakOfAnonymous(threading.Thread):
    """Samples anonymous memory every 5 ms."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0.0

    def run(self) -> None:
        """Sample until the process ends."""
        while True:
            self.peak = max(self.peak, memory("RssAnon"))
            time.sleep(0.005)


def measure(files: Path, cache: Path, size: int, stage: str) -> dict[str, float]:
    """Open a folder, and in the stage ``epoch`` also load every training cell once."""
    from bcc_lightning.datamodules import CellFolder

    before = memory("RssAnon")
    watcher = PeakOfAnonymous()
    watcher.start()
    start = time.perf_counter()
    data = CellFolder(root=str(files), image_size=size, batch_size=256, num_workers=0, cache_dir=str(cache))
    data.setup()
    data.facts()
    seconds = time.perf_counter() - start
    if stage == "epoch":
        for _ in data.train_dataloader():
            pass
    return {"seconds": seconds, "imports": before, "anonymous": watcher.peak - before, "resident": memory("VmRSS")}


COLUMNS = ("files", "stage", "seconds to start", "anonymous memory added, peak, MiB", "resident at the end, MiB")


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--out", type=Path, default=Path("rows"), help="where files and caches are written")
    parser.add_argument("--root", type=Path, help="a folder of real cells, measured instead of generated files")
    parser.add_argument("--size", type=int, default=SIDE, help="side of the decoded images in pixels")
    parser.add_argument(STAGE, choices=STAGES)
    options = parser.parse_args()
    if options.stage:
        print(json.dumps(measure(options.root, options.out, options.size, options.stage)))
        return
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    if options.root:
        report(options.root.name, options.root, options.out / "cache", options.size)
        return
    for rows in options.rows:
        folder = options.out / str(rows)
        write_files(folder / "files", rows)
        report(f"{rows:,} generated", folder / "files", folder / "cache", options.size)


def report(name: str, files: Path, cache: Path, size: int) -> None:
    """Measure all stages of a folder, each in a fresh process, and print a row for each."""
    for stage in STAGES:
        command = [sys.executable, __file__, "--root", str(files), "--out", str(cache), "--size", str(size), STAGE, stage]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"| {name} | {stage} | {found['seconds']:.1f} | {found['anonymous']:.0f} | {found['resident']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
