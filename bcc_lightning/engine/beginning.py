"""What is printed of a run before it trains: its data, network, device and plan, and where it is filed."""

import platform
from math import inf

import torch
from lightning import Trainer

from bcc_lightning.architectures.acceleration import cpu_capabilities, runs_in_bf16
from bcc_lightning.cli.experiment import ExperimentCLI
from bcc_lightning.engine.console import TOGETHER, print_rows, ui_command
from bcc_lightning.modules.base import CellClassifier
from bcc_lightning.printable import shortened
from bcc_lightning.steps import is_heard
from bcc_lightning.tracking.description import SETS, Description, text
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.run_files import Summary
from bcc_lightning.tracking.store import without_password

SHOWN_CLASSES, MOST_FREQUENT = 8, 5
"""Classes that are all shown with their cells; of more, how many of the most frequent ones."""

LONGEST_NAME = 24
"""Characters of the name of a class."""


def print_beginning(experiment: ExperimentCLI, run: TrackedRun, summary: Summary, trainer: Trainer) -> None:
    """Print what a run is made of, in a few aligned lines."""
    if is_heard():
        network = Description(summary, experiment.resolved_config()).network
        trained = ", all of them trained" if summary.trained and summary.trained == summary.parameters else ""
        origin = f"; starts from {origin_of(summary)}" if experiment.model.learns else ""
        print()
        print_rows(
            [
                ("data", cells_of(summary)),
                ("from", summary.data.get("data.laboratories", "")),
                ("classes", classes_of(summary)),
                ("network", f"{network}{trained}{origin}"),
                ("device", device_of(trainer, experiment.model)),
                ("training", plan_of(experiment, trainer)),
                ("testing", f"test-time augmentation: {summary.test_time}" if summary.test_time else ""),
            ]
        )
        print_place(run)
        print(flush=True)


def print_place(run: TrackedRun) -> None:
    """Print where a run is filed, and how to open the page on which runs are compared."""
    if is_heard():
        tracking = run.tracking
        home = tracking.home if tracking.database else without_password(tracking.resolved_uri)
        page, *then = ui_command(run, tracking).splitlines()
        rows = [("run", f"{run.run_id}, filed in {home}"), ("all runs", page), *(("", line.strip()) for line in then)]
        print_rows(rows, inf)


def cells_of(summary: Summary) -> str:
    """Describe the data set, its pixels, and the cells of each set."""
    own = [f"{sum(counts):,} {SETS[name]}" for name, counts in summary.cells.items() if name in SETS]
    further = [f"{name} ({sum(counts):,} cells)" for name, counts in summary.cells.items() if name not in SETS]
    elsewhere = f"; also tested on {', '.join(further)}" if further else ""
    return f"{summary.data['data.name']}, {summary.data['data.resolution']} pixels: {in_list(own)} cells{elsewhere}"


def classes_of(summary: Summary) -> str:
    """List the classes with the cells of each set; of many, the most frequent ones and the rarest."""
    sets = [name for name in summary.cells if name in SETS]
    counts = list(zip(*(summary.cells[name] for name in sets), strict=True))
    described = [
        f"{name}{TOGETHER}{'/'.join(f'{count:,}' for count in cells)}"
        for name, cells in zip(shortened(summary.classes, LONGEST_NAME), counts, strict=True)
    ]
    lead = f"{len(described)}, with their {'/'.join(SETS[name] for name in sets)} cells: "
    if len(described) <= SHOWN_CLASSES:
        return lead + ", ".join(described)
    by_size = sorted(range(len(counts)), key=lambda number: -sum(counts[number]))
    most = ", ".join(described[number] for number in by_size[:MOST_FREQUENT])
    return f"{lead}{most}, {len(described) - MOST_FREQUENT - 1} more, and the rarest, {described[by_size[-1]]}"


def origin_of(summary: Summary) -> str:
    """Describe where the weights come from, by part where there are several; without hashes."""
    origins = {part: text(origin).partition(", sha256")[0] for part, origin in summary.weights.items()}
    if len(set(origins.values())) <= 1:
        return next(iter(origins.values()), "random weights")
    return "; ".join(f"{part}: {origin}" for part, origin in origins.items())


def device_of(trainer: Trainer, model: CellClassifier) -> str:
    """Describe where a run computes, how precisely, and in how many processes."""
    device, processes = trainer.strategy.root_device, trainer.world_size
    several = f"{processes} processes, each on " if processes > 1 else ""
    return f"{several}{name_of(device)}, {precision_of(trainer, model)}"


def name_of(device: torch.device) -> str:
    """Name an accelerator, or the processor and its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        threads = torch.get_num_threads()
        return f"CPU {cpu_capabilities().get('cpu_name', platform.machine())}, {threads} thread{'' if threads == 1 else 's'}"
    return device.type


def precision_of(trainer: Trainer, model: CellClassifier) -> str:
    """Name the numbers that a network computes in: what the trainer was told, else what its parts choose."""
    if trainer.precision != "32-true":
        return str(trainer.precision)
    parts = [module for module in model.network.modules() if hasattr(module, "precision")]
    half = {runs_in_bf16(part, trainer.strategy.root_device, part.precision) for part in parts}  # type: ignore[arg-type]
    return {frozenset({True}): "bfloat16", frozenset({True, False}): "float32 and bfloat16"}.get(frozenset(half), "float32")


def plan_of(experiment: ExperimentCLI, trainer: Trainer) -> str:
    """Describe how long a training lasts, and which weights are kept."""
    data, selection = experiment.datamodule, experiment.selection
    if not experiment.model.learns:
        return f"none: {len(experiment.members)} trained networks vote"
    epochs, done = trainer.max_epochs, experiment.progress.epochs
    limited = isinstance(trainer.limit_train_batches, int) or trainer.limit_train_batches < 1
    per_epoch = f"{data.balancing.draws.size:,} cells in batches of {data.batch_size}"
    times = "any number of epochs" if not epochs or epochs < 0 else "1 epoch" if epochs == 1 else f"{epochs} epochs"
    parts = [f"{times} of {per_epoch}"]
    parts += [f"limited to {trainer.limit_train_batches} batches" if limited else ""]
    parts += [f"at most {trainer.max_steps:,} steps" if trainer.max_steps > 0 else ""]
    limit = experiment.config["trainer"]["max_time"]
    parts += [f"at most {limit} (days:hours:minutes:seconds)" if limit else ""]
    parts += [f"{done} of them done" if done else "", f"{len(experiment.stages)} stages" if experiment.stages else ""]
    monitor = selection.monitor.replace("val/", "validation ")
    kept = "the last epoch's weights are kept" if selection.keep == "last" else f"the weights with the best {monitor} are kept"
    stops = selection.patience and not (epochs and 0 < epochs <= selection.patience)
    early = f"; stops after {selection.patience} epochs without a better {monitor}" if stops else ""
    return f"{', '.join(part for part in parts if part)}; {kept}{early}"


def in_list(parts: list[str]) -> str:
    """Join parts as in a sentence: ``a, b and c``."""
    return " and ".join(part for part in (", ".join(parts[:-1]), parts[-1] if parts else "") if part)
