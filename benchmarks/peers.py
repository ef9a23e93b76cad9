"""Training speed, memory and accuracy beside other programs that train the same network on the same images.

All train a network of timm's from random weights by AdamW at a constant learning rate, on class folders of PNG files, with the
same horizontal flips, batches, epochs, loading workers and threads, in turn, once per seed. Then they classify the validation
set. A command ends when it has done that; this project's also tests, explains and files its run.

    python benchmarks/peers.py --npz bloodmnist.npz --steps 120 --seeds 0 1 2 --timm-train pytorch-image-models/train.py
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from PIL import Image

HERE = Path(__file__).parent


class Measured(NamedTuple):
    """What a peer needed and reached.

    Attributes:
        images_per_second: of the training.
        seconds: of the whole command.
        memory: largest resident size of its main process in MiB.
        accuracy: on the validation set.
    """

    images_per_second: float
    seconds: float
    memory: float
    accuracy: float


class Peer(NamedTuple):
    """A program that trains.

    Attributes:
        command: what runs it.
        read: reads images a second and accuracy from its output.
    """

    command: list[str]
    read: Callable[[str], tuple[float, float]]


def write_cells(file: Path, out: Path, training: int) -> None:
    """Write images of an npz file in MedMNIST's layout as class folders: so many training images, and all validation images."""
    arrays = dict(np.load(file))  # read once: each access to the file would unpack an array again
    order = np.random.default_rng(0).permutation(len(arrays["train_labels"]))[:training]
    for name, rows in (("train", order), ("test", range(200)), ("val", range(len(arrays["val_labels"])))):
        for row in rows:
            folder = out / name / f"class_{int(arrays[f'{name}_labels'][row].item())}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(arrays[f"{name}_images"][row]).save(folder / f"{row:05d}.png")


def flags(**values: object) -> list[str]:
    """Write values as flags; true is a flag without a value."""
    named = {f"--{name.replace('_', '-')}": value for name, value in values.items()}
    return [part for name, value in named.items() for part in ([name] if value is True else [name, *str(value).split()])]


def this_project(options: argparse.Namespace, cells: Path, seed: int) -> Peer:
    """Return `fit` of this project."""
    model = {"backbone": options.model, "pretrained": False, "optimizer": "adamw", "lr": options.lr, "weight_decay": 0.05}
    data = {
        "root": str(cells),
        "image_size": options.image_size,
        "batch_size": options.batch_size,
        "num_workers": options.workers,
        "augment": {"steps": [{"HorizontalFlip": {"p": 0.5}}]},
    }
    experiment, summary = options.out / "peers.yaml", options.out / "summary.json"
    content = {
        "model": {"class_path": "TransferClassifier", "init_args": {**model, "precision": options.precision}},
        "data": {"class_path": "CellFolder", "init_args": data},
        "selection": {"keep": "last", "patience": None},
        "trainer": {"max_epochs": options.epochs, "accelerator": "cpu"},
    }
    experiment.write_text(yaml.safe_dump(content))
    command = [sys.executable, "-m", "bcc_lightning.fit", "--exp", str(experiment), "--seed_everything", str(seed)]
    command += ["--tracking.folder", str(options.out / "mlruns"), "--summary", str(summary)]

    def read(_: str) -> tuple[float, float]:
        content = json.loads(summary.read_text())
        return content["images_per_second"], content["metrics"]["val/accuracy"]

    return Peer(command, read)


def timm_script(options: argparse.Namespace, cells: Path, seed: int) -> Peer:
    """Return timm's training script."""
    data = flags(data_dir=cells, val_split="val", num_classes=len(list((cells / "val").iterdir())), workers=options.workers)
    size = flags(input_size=f"3 {options.image_size} {options.image_size}", crop_pct=1, batch_size=options.batch_size)
    recipe = flags(model=options.model, epochs=options.epochs, opt="adamw", lr=options.lr, weight_decay=0.05, smoothing=0)
    constant = flags(sched="step", decay_epochs=1000, warmup_epochs=0)
    rest = flags(no_aug=True, hflip=0.5, device="cpu", seed=seed, log_interval=10, output=options.out / "timm")

    def read(text: str) -> tuple[float, float]:
        speeds = re.findall(r"\([\d.]+s, +([\d.]+)/s\)", text)
        return float(speeds[-1]), float(re.findall(r"Acc@1: +[\d.]+ \( *([\d.]+)\)", text)[-1]) / 100

    return Peer([sys.executable, str(options.timm_train), *data, *size, *recipe, *constant, *rest], read)


def script(name: str, options: argparse.Namespace, cells: Path, seed: int) -> Peer:
    """Return one of the scripts beside this one."""
    shared = {key: getattr(options, key) for key in ("model", "image_size", "batch_size", "epochs", "workers", "lr")}

    def read(text: str) -> tuple[float, float]:
        speed, accuracy = text.split()[-2:]  # a progress bar may stand before them
        return float(speed), float(accuracy)

    return Peer([sys.executable, str(HERE / f"peer_{name}.py"), *flags(cells=cells, seed=seed, **shared)], read)


def measure(peer: Peer) -> Measured:
    """Run a peer.

    Raises:
        SystemExit: it failed.
    """
    start = time.perf_counter()
    process = subprocess.Popen(peer.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(peer.command)}\n{text[-3000:]}")
    speed, accuracy = peer.read(text)
    return Measured(speed, time.perf_counter() - start, usage.ru_maxrss / 1024, accuracy)


def print_table(rounds: list[dict[str, Measured]]) -> None:
    """Print means over the seeds, and medians of the ratios to this project within a round."""
    print("| trained by | images/s | ratio | command | ratio | memory | ratio | validation accuracy |\n|" + "---|" * 8)
    for name in rounds[0]:
        own = [measured[name] for measured in rounds]
        columns = [name]
        for column, form in enumerate(("{:.0f}", "{:.1f} s", "{:.0f} MiB")):
            ratio = statistics.median(measured[name][column] / measured["bcc_lightning"][column] for measured in rounds)
            columns += [form.format(statistics.mean(one[column] for one in own)), f"{ratio:.2f}"]
        accuracies = [one.accuracy for one in own]
        columns.append(f"{statistics.mean(accuracies):.3f} ({', '.join(f'{value:.3f}' for value in accuracies)})")
        print(f"| {' | '.join(columns)} |")


def main() -> None:
    """Measure in turn and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--npz", type=Path, required=True, help="a file in MedMNIST's layout")
    parser.add_argument("--out", type=Path, default=Path("peers"), help="folder for images and runs")
    parser.add_argument("--model", default="resnet18", help="timm's name, of a network with ImageNet's mean and deviation")
    parser.add_argument("--image-size", type=int, default=28)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=120, help="of all epochs together")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--workers", type=int, default=1, help="loading processes; timm needs one")
    parser.add_argument("--precision", default="32", help="this project's --model.precision; the peers have float32")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--timm-train", type=Path, help="timm's train.py")
    options = parser.parse_args()
    training = options.steps // options.epochs * options.batch_size
    cells = options.out / f"cells_{training}"
    if not cells.is_dir():
        write_cells(options.npz, cells, training)
    found: dict[str, Callable[[argparse.Namespace, Path, int], Peer]] = {"bcc_lightning": this_project}
    if options.timm_train:
        found["timm"] = timm_script
    found |= {name: partial(script, name) for name in ("lightning", "fastai") if find_spec(name)}
    print_table([{name: measure(peer(options, cells, seed)) for name, peer in found.items()} for seed in options.seeds])


if __name__ == "__main__":
    main()
