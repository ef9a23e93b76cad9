"""Exported networks beside their originals: speed on this processor, size, and accuracy on the runs' own test sets.

Each run is exported as ONNX in float32 and int8. Network and files then classify the same images in turn, several times; the
fastest time counts, since everything else that runs on the machine only adds to it. ONNX Runtime gets as many threads as torch.

    python benchmarks/onnx_speed.py --run house --run efficientswin
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bcc_lightning.cli.command import quieten
from bcc_lightning.deployment.export import export, onnx_runner
from bcc_lightning.prediction.classifier import Pixels, TrainedClassifier
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.tracking.trained_networks import TrainedNetwork, find_network


def fastest(functions: dict[str, Callable[[Pixels], object]], images: Pixels, rounds: int) -> dict[str, float]:
    """Time functions in turn; returns the shortest seconds of each."""
    seconds = dict.fromkeys(functions, float("inf"))
    for _ in range(rounds + 1):  # the first round warms up, and is hardly ever the fastest
        for name, function in functions.items():
            start = time.perf_counter()
            function(images)
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds


def measure(network: TrainedNetwork, folder: Path, rounds: int) -> list[str]:
    """Export a network and return its row of the table."""
    classifier = TrainedClassifier.of(network)
    done = {precision: export(network, folder / f"{precision}.onnx", "onnx", precision) for precision in ("fp32", "int8")}
    side, size = classifier.side, classifier.batch_size
    images = np.random.default_rng(0).integers(256, size=(size, side, side, 3), dtype=np.uint8)
    functions: dict[str, Callable[[Pixels], object]] = {"network": classifier.classify}
    functions |= {name: onnx_runner(one.file) for name, one in done.items()}
    rates = {name: size / seconds for name, seconds in fastest(functions, images, rounds).items()}
    parity = {name: one.parity for name, one in done.items()}
    return [
        network.title,
        f"{type(classifier.module).__name__}, {classifier.module.image_size} px, {size} at once",
        *(f"{rates[name]:.0f}" for name in functions),
        *(f"{(folder / f'{name}.onnx').stat().st_size / 2**20:.1f}" for name in done),
        f"{parity['fp32'].network_accuracy or 0:.4f}",
        *(f"{one.accuracy or 0:.4f}" for one in parity.values()),
    ]


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", action="append", required=True, help="as for `export`; repeatable")
    parser.add_argument("--tracking", help="folder where runs are kept")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    quieten()
    tracking = Tracking(**({"folder": options.tracking} if options.tracking else {}))
    headings = ["run", "network", "images/s", "ONNX fp32", "ONNX int8", "MiB fp32", "int8", "accuracy", "ONNX fp32", "ONNX int8"]
    print(f"| {' | '.join(headings)} |\n|{'---|' * len(headings)}")
    for run in options.run:
        with TemporaryDirectory() as folder:
            print(f"| {' | '.join(measure(find_network(tracking, run), Path(folder), options.rounds))} |", flush=True)


if __name__ == "__main__":
    main()
