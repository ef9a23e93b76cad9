"""Training on a GPU: images per second by loader and how long it waits, bfloat16, torch.compile, and one trial per GPU.

    python benchmarks/gpu.py --root /cells/pbc_96

Speed is measured on painted cells of 224 pixels, in turn with a bare loop over one resident batch. Accuracy is that on the
validation set of ``--root``, a folder of class folders, after a short training on 250 cells of each class. The GPU waits between
the end of a training step and the beginning of the next; events in its own stream mark both. ``--tiny`` tries everything on a
processor in a few minutes; its figures mean nothing.
"""

import argparse
import os
import statistics
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

import torch
from fit_overhead import bare_loop
from lightning import Callback, LightningModule, Trainer, seed_everything
from search_overhead import search

from bcc_lightning.architectures.acceleration import Precision
from bcc_lightning.callbacks.epochs import EpochSeeding
from bcc_lightning.cli.command import quieten
from bcc_lightning.cli.experiment import TRAINER_DEFAULTS
from bcc_lightning.datamodules import CellFolder, SyntheticSmear
from bcc_lightning.modules import CellClassifier, EfficientSwin, TransferClassifier
from bcc_lightning.steps import duration
from bcc_lightning.tracking.logger import RunLogger
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.settings import Tracking

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

NETWORKS = ("EfficientSwin", "resnet18")

WORKERS = min(8, os.cpu_count() or 1)

LOADERS: dict[str, dict[str, Any]] = {
    "as it is, no workers": {"num_workers": 0, "augment": "none"},
    "light, no workers": {"num_workers": 0, "augment": "light"},
    f"standard, workers: {WORKERS // 2}": {"num_workers": WORKERS // 2, "augment": "standard"},
    f"standard, workers: {WORKERS}": {"num_workers": WORKERS, "augment": "standard"},
    "laboratories drawn on the device": {"num_workers": 0, "augment": "none", "laboratory": "all"},
}
"""Arguments of the data module by what the table calls them."""

PRECISIONS: tuple[Precision, ...] = ("32", "bf16")


class Steps(Callback):
    """Measures the steps of the last epoch, and how long the device waits between them.

    Events are recorded in the GPU's own stream: that of a step's end when its last kernel is done, that of a step's beginning
    when the processor sends it, or later if the GPU is still busy. What lies between the two is idle.
    """

    def __init__(self) -> None:
        self.marks: list[Any] = []

    def mark(self) -> None:
        """Note the present moment."""
        if DEVICE.type == "cpu":
            self.marks.append(time.perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        self.marks.append(event)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the epoch before, in which loading processes were started."""
        self.marks.clear()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:  # noqa: ANN401 - Lightning's
        """Note the beginning of a step."""
        self.mark()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:  # noqa: ANN401 - Lightning's
        """Note its end."""
        self.mark()

    def measured(self, batch_size: int) -> tuple[float, float]:
        """Return images per second, and the share of the time in which the device waited, between the first and the last step."""
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
            moments = [self.marks[0].elapsed_time(mark) / 1000 for mark in self.marks]
        else:
            moments = self.marks
        ends, starts = moments[1::2], moments[2::2]
        seconds = ends[-1] - ends[0]
        waited = sum(start - end for end, start in zip(ends, starts, strict=False))
        return (len(ends) - 1) * batch_size / seconds, waited / seconds


def network(name: str, data: Any, **arguments: Any) -> CellClassifier:  # noqa: ANN401 - a data module, and a module's arguments
    """Build a network from random weights; a name that is no module's is timm's."""
    if name == "EfficientSwin":
        return EfficientSwin.for_data(data, pretrained=False, **arguments)
    return TransferClassifier.for_data(data, backbone=name, pretrained=False, **arguments)


def speeds(options: Namespace) -> Iterator[str]:
    """Compare training with each loader to the bare loop, both in turn."""
    yield "| network | loader | images/s | bare loop | ratio (smallest, largest) | the device waits |"
    for name in NETWORKS:
        for loader, arguments in LOADERS.items():
            cells = options.steps * options.batch_size
            base = {"image_size": options.image_size, "batch_size": options.batch_size}
            data = SyntheticSmear(train_cells=cells, val_cells=8, test_cells=8, **base, **arguments)
            module = network(name, data)
            rounds = []
            with tempfile.TemporaryDirectory() as folder:
                tracking = Tracking(uri=f"sqlite:///{folder}/mlflow.db", folder=folder)
                logger = RunLogger(TrackedRun.create(tracking, "benchmark", {}))
                for _ in range(options.rounds):
                    steps = Steps()
                    settings = {**TRAINER_DEFAULTS, "max_epochs": 2, "limit_val_batches": 0, "enable_checkpointing": False}
                    trainer = Trainer(**settings, logger=logger, callbacks=[steps, EpochSeeding(0)], enable_progress_bar=False)
                    trainer.fit(module, data)
                    rounds.append((*steps.measured(options.batch_size), bare_loop(module, data, options.steps)))
            fit, waited, bare = (statistics.median(column) for column in zip(*rounds, strict=True))
            ratios = sorted(speed / alone for speed, _, alone in rounds)
            spread = f"{statistics.median(ratios):.3f} ({ratios[0]:.3f}, {ratios[-1]:.3f})"
            yield f"| {name} | {loader} | {fit:.0f} | {bare:.0f} | {spread} | {waited:.1%} |"


def compiled(options: Namespace) -> Iterator[str]:
    """Compare the bare loop to that of the compiled network."""
    yield "| network | eager, images/s | compiled, images/s | ratio | seconds to compile |"
    base = {"image_size": options.image_size, "batch_size": options.batch_size}
    data = SyntheticSmear(train_cells=options.batch_size, val_cells=8, test_cells=8, num_workers=0, **base)
    for name in NETWORKS:
        module = network(name, data)
        eager = bare_loop(module, data, options.steps)
        module.network.compile(
            backend="inductor" if DEVICE.type == "cuda" else "aot_eager"
        )  # on processors inductor takes minutes
        start = time.perf_counter()
        bare_loop(module, data, 1)
        seconds = time.perf_counter() - start
        fast = bare_loop(module, data, options.steps)
        yield f"| {name} | {eager:.0f} | {fast:.0f} | {fast / eager:.2f} | {seconds:.0f} |"


def accuracies(options: Namespace) -> Iterator[str]:
    """Train briefly on real cells in both precisions."""
    yield "| network | precision | validation accuracy of each seed | seconds of each training |"
    for name in NETWORKS:
        for precision in PRECISIONS:
            found, seconds = [], []
            for seed in options.seeds:
                seed_everything(seed, verbose=False)
                base = {"image_size": options.image_size, "batch_size": options.batch_size}
                data = CellFolder(root=options.root, few_shot=options.cells, augment="light", num_workers=0, seed=seed, **base)
                module = network(name, data, precision=precision, lr=3e-4)
                settings = {**TRAINER_DEFAULTS, "max_epochs": options.epochs, "enable_checkpointing": False}
                trainer = Trainer(**settings, logger=False, callbacks=[EpochSeeding(seed)], enable_progress_bar=False)
                start = time.perf_counter()
                trainer.fit(module, data)
                seconds.append(time.perf_counter() - start)
                found.append(float(trainer.callback_metrics["val/accuracy"]))
            accuracy = f"{', '.join(f'{one:.4f}' for one in found)}; mean {statistics.mean(found):.4f}"
            yield f"| {name} | {precision} | {accuracy} | {statistics.mean(seconds):.0f} |"


def trials(options: Namespace) -> Iterator[str]:
    """Search with one worker for each GPU, which is the default, and with two."""
    yield "| workers | seconds | trials per hour |"
    devices = max(1, torch.cuda.device_count())
    flags = ["--trainer.max_epochs", str(options.epochs), "--data.image_size", str(options.image_size)]
    for workers in (devices, 2 * devices):
        found = search(Namespace(exp="quickstart", space=None, trials=2 * devices), workers, flags)
        yield f"| {workers} on {devices} device(s) | {found.wall:.0f} | {found.trials_per_hour:.0f} |"


TINY = {"image_size": 32, "batch_size": 8, "steps": 3, "rounds": 1, "epochs": 1, "seeds": [0], "cells": 8}


def main() -> None:
    """Print each table as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cells", type=int, default=250, help="training cells of each class")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--tiny", action="store_true", help="try everything on a few small images")
    options = parser.parse_args()
    if options.tiny:
        vars(options).update(TINY)
    quieten()
    print(f"{torch.cuda.get_device_name() if DEVICE.type == 'cuda' else 'a processor'}, PyTorch {torch.__version__}")
    for measure in (speeds, compiled, accuracies, trials):
        start = time.perf_counter()
        print()
        for number, line in enumerate(measure(options)):
            print(line, flush=True)
            if number == 0:
                print("|" + "---|" * (line.count("|") - 1))
        print(f"\n{measure.__name__}: {duration(time.perf_counter() - start)}", flush=True)


if __name__ == "__main__":
    main()
