"""Overhead of `fit` compared with a bare forward-backward-step loop, in images per second.

The loop steps over one resident batch with the same network, size, precision and optimiser. Both run alternately in one process,
several times, and the ratio is taken per round, so that a drift in the machine's speed does not matter.

    python benchmarks/fit_overhead.py --image-size 64 --batch-size 32 --rounds 5
"""

import argparse
import statistics
import tempfile
import time

import torch
from lightning import Trainer
from torch.nn.functional import cross_entropy

from bcc_lightning.callbacks.epochs import EpochSeeding, Throughput
from bcc_lightning.cli.command import quieten
from bcc_lightning.cli.experiment import TRAINER_DEFAULTS
from bcc_lightning.datamodules import SyntheticSmear
from bcc_lightning.modules import CellClassifier, EfficientSwin, TransferClassifier
from bcc_lightning.modules.optimization import Recipe, make_optimizer, parameter_groups
from bcc_lightning.tracking.logger import RunLogger
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.settings import Tracking

WARM_UP = 3


def bare_loop(module: CellClassifier, data: SyntheticSmear, steps: int) -> float:
    """Return images per second of steps over one resident batch that is already scaled to [0, 1]."""
    module.to("cuda" if torch.cuda.is_available() else "cpu")
    batch = next(iter(data.train_dataloader()))
    pixels, label = module.prepare(batch.image.to(module.device)), batch.label.to(module.device)
    recipe = Recipe(lr=1e-3)
    optimizer = make_optimizer(parameter_groups(module.network, recipe, 1.0, []), "adam", recipe)
    module.network.train()
    start = 0.0
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            start = finished()
        optimizer.zero_grad()
        cross_entropy(module.network(pixels), label).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return steps * len(label) / (finished() - start)


def finished() -> float:
    """Read the clock when the GPU, if there is one, has done what it was asked to."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def framework(module: CellClassifier, data: SyntheticSmear, steps: int, logger: RunLogger) -> float:
    """Return images per second of training as in `fit`, with logging to MLflow, after a warm-up epoch."""
    speed = Throughput()
    settings = {**TRAINER_DEFAULTS, "limit_train_batches": steps, "limit_val_batches": 0, "enable_checkpointing": False}
    for epochs, callbacks in ((1, []), (1, [speed, EpochSeeding(0)])):
        trainer = Trainer(**{**settings, "max_epochs": epochs}, logger=logger, callbacks=callbacks, enable_progress_bar=False)
        trainer.fit(module, data)
    return speed.images_per_second or 0.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backbone", help="timm name of a single backbone instead of EfficientSwin")
    arguments = parser.parse_args()
    quieten()
    data = SyntheticSmear(
        train_cells=arguments.steps * arguments.batch_size, image_size=arguments.image_size, batch_size=arguments.batch_size
    )
    data.setup()
    names = list(data.class_names)
    torch.manual_seed(0)
    if arguments.backbone:
        module: CellClassifier = TransferClassifier(
            arguments.backbone, class_names=names, image_size=arguments.image_size, pretrained=False
        )
    else:
        module = EfficientSwin(class_names=names, image_size=arguments.image_size, pretrained=False)
    with tempfile.TemporaryDirectory() as folder:
        logger = RunLogger(TrackedRun.create(Tracking(uri=f"sqlite:///{folder}/mlflow.db", folder=folder), "benchmark", {}))
        rounds = [
            (framework(module, data, arguments.steps, logger), bare_loop(module, data, arguments.steps))
            for _ in range(arguments.rounds)
        ]
    for number, (fit, bare) in enumerate(rounds):
        print(f"round {number}: fit {fit:7.1f}  bare loop {bare:7.1f} images/s  ratio {fit / bare:.3f}")
    ratios = [fit / bare for fit, bare in rounds]
    print(f"median ratio {statistics.median(ratios):.3f} (smallest {min(ratios):.3f}, largest {max(ratios):.3f})")


if __name__ == "__main__":
    main()
