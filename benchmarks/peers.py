"""Training speed, memory and accuracy beside other programs that train the same network on the same images.

All train timm's ResNet from random weights by AdamW at a constant learning rate, on class folders of PNG files, with the same
horizontal flips, batches, epochs, loading workers and threads, in float32, in turn, once per seed. Then they classify the
validation set. A command ends when it has done that; this project's also tests, explains and files its run.

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
from typing import Any, NamedTuple

import numpy as np
import yaml
from PIL import Image

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FLIP = 0.5
WARM_UP = 5
"""Steps that are not timed in the plain loops."""


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


def write_folders(file: Path, out: Path, training: int) -> None:
    """Write images of an npz file in MedMNIST's layout as class folders: so many training images, and all validation images."""
    if (out / "val").is_dir():
        return
    arrays = np.load(file)
    order = np.random.default_rng(0).permutation(len(arrays["train_labels"]))[:training]
    for name, rows in (("train", order), ("test", range(200)), ("val", range(len(arrays["val_labels"])))):
        for row in rows:
            folder = out / name / f"class_{int(arrays[f'{name}_labels'][row].item())}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(arrays[f"{name}_images"][row]).save(folder / f"{row:05d}.png")


def this_project(options: argparse.Namespace, seed: int) -> tuple[list[str], Callable[[str], tuple[float, float]]]:
    """Return the command of `fit`, and what reads images a second and accuracy from its output."""
    model = {"backbone": options.model, "pretrained": False, "optimizer": "adamw", "lr": options.lr, "weight_decay": 0.05}
    data = {
        "root": str(options.out / "cells"),
        "image_size": options.image_size,
        "batch_size": options.batch_size,
        "num_workers": options.workers,
        "augment": {"steps": [{"HorizontalFlip": {"p": FLIP}}]},
    }
    experiment, summary = options.out / "peers.yaml", options.out / "summary.json"
    content: dict[str, Any] = {
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

    return command, read


def timm_script(options: argparse.Namespace, seed: int) -> tuple[list[str], Callable[[str], tuple[float, float]]]:
    """Return the command of timm's training script, likewise."""
    side, classes = str(options.image_size), len(list((options.out / "cells/val").iterdir()))
    command = [sys.executable, str(options.timm_train), "--data-dir", str(options.out / "cells"), "--val-split", "val"]
    command += ["--model", options.model, "--num-classes", str(classes), "--input-size", "3", side, side, "--crop-pct", "1"]
    command += ["--batch-size", str(options.batch_size), "--workers", str(options.workers), "--epochs", str(options.epochs)]
    command += ["--opt", "adamw", "--lr", str(options.lr), "--weight-decay", "0.05", "--sched", "step"]
    command += [
        "--decay-epochs",
        "1000",
        "--warmup-epochs",
        "0",
        "--no-aug",
        "--hflip",
        str(FLIP),
        "--smoothing",
        "0",
        "--device",
        "cpu",
        "--seed",
        str(seed),
    ]
    command += ["--log-interval", "10", "--output", str(options.out / "timm"), "--experiment", str(seed)]

    def read(text: str) -> tuple[float, float]:
        speeds = re.findall(r"\([\d.]+s, +([\d.]+)/s\)", text)
        return float(speeds[-1]), float(re.findall(r"Acc@1: +[\d.]+ \( *([\d.]+)\)", text)[-1]) / 100

    return command, read


def plain_loop(name: str, options: argparse.Namespace, seed: int) -> tuple[list[str], Callable[[str], tuple[float, float]]]:
    """Return the command that trains by one of the functions below, likewise."""
    given = {key: str(value) for key, value in vars(options).items() if key in {"model", "lr", "out"}}
    given |= {key: str(getattr(options, key)) for key in ("image_size", "batch_size", "workers", "epochs")}
    flags = [part for key, value in given.items() for part in (f"--{key.replace('_', '-')}", value)]

    def read(text: str) -> tuple[float, float]:
        speed, accuracy = text.splitlines()[-1].split()
        return float(speed), float(accuracy)

    return [sys.executable, __file__, *flags, "--only", name, "--seeds", str(seed)], read


def train_with_lightning(options: argparse.Namespace, seed: int) -> None:
    """Train with Lightning and torchvision, written as their tutorials do, and print images a second and accuracy."""
    import timm
    import torch
    from lightning import Callback, LightningModule, Trainer, seed_everything
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    class Classifier(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = timm.create_model(options.model, num_classes=len(training.classes))
            self.right = self.seen = 0

        def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(self.network(batch[0]), batch[1])

        def validation_step(self, batch: list[torch.Tensor], _: int) -> None:
            self.right += int((self.network(batch[0]).argmax(1) == batch[1]).sum())
            self.seen += len(batch[1])

        def on_validation_epoch_start(self) -> None:
            self.right = self.seen = 0

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.network.parameters(), lr=options.lr, weight_decay=0.05)

    class Clock(Callback):
        steps, seconds, start = 0, 0.0, 0.0

        def on_train_epoch_start(self, *_: Any) -> None:  # noqa: ANN401 - Lightning's signature
            self.start = time.perf_counter()

        def on_train_batch_end(self, *_: Any) -> None:  # noqa: ANN401 - Lightning's signature
            now = time.perf_counter()
            self.steps, self.seconds, self.start = self.steps + 1, self.seconds + now - self.start, now

    seed_everything(seed)
    size = transforms.Resize((options.image_size, options.image_size))
    end = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    flip = transforms.RandomHorizontalFlip(FLIP)
    training = datasets.ImageFolder(str(options.out / "cells/train"), transforms.Compose([size, flip, *end]))
    validation = datasets.ImageFolder(str(options.out / "cells/val"), transforms.Compose([size, *end]))
    loading: dict[str, Any] = {"batch_size": options.batch_size, "num_workers": options.workers}
    module, clock = Classifier(), Clock()
    trainer = Trainer(max_epochs=options.epochs, accelerator="cpu", logger=False, enable_checkpointing=False, callbacks=[clock])
    trainer.fit(module, DataLoader(training, shuffle=True, drop_last=True, **loading), DataLoader(validation, **loading))
    print(clock.steps * options.batch_size / clock.seconds, module.right / module.seen)


def train_with_fastai(options: argparse.Namespace, seed: int) -> None:
    """Train with fastai, likewise."""
    import torch
    from fastai.vision import all as fastai

    fastai.set_seed(seed, reproducible=True)
    flip = fastai.aug_transforms(max_rotate=0, max_zoom=1, max_lighting=0, max_warp=0)
    loaders = fastai.ImageDataLoaders.from_folder(
        options.out / "cells",
        valid="val",
        item_tfms=fastai.Resize(options.image_size),
        batch_tfms=[*flip, fastai.Normalize.from_stats(MEAN, STD)],
        bs=options.batch_size,
        num_workers=options.workers,
        device="cpu",
    )
    adamw = partial(fastai.OptimWrapper, opt=torch.optim.AdamW)
    learner = fastai.vision_learner(
        loaders, options.model, pretrained=False, metrics=fastai.accuracy, opt_func=adamw, wd=0.05, cut=-1
    )
    start = time.perf_counter()
    learner.fit(options.epochs, options.lr)
    seconds = time.perf_counter() - start
    print(len(loaders.train_ds) * options.epochs / seconds, float(learner.validate()[1]))


PLAIN = {"lightning": train_with_lightning, "fastai": train_with_fastai}


def measure(command: list[str], read: Callable[[str], tuple[float, float]]) -> Measured:
    """Run a command and read what it needed and reached.

    Raises:
        SystemExit: the command failed.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}\n{text[-3000:]}")
    speed, accuracy = read(text)
    return Measured(speed, time.perf_counter() - start, usage.ru_maxrss / 1024, accuracy)


def peers(options: argparse.Namespace) -> dict[str, Callable[..., tuple[list[str], Callable[[str], tuple[float, float]]]]]:
    """Return the peers that are installed, by name; this project is the first."""
    found: dict[str, Any] = {"bcc_lightning": this_project}
    if options.timm_train:
        found["timm"] = timm_script
    return found | {name: partial(plain_loop, name) for name in PLAIN if find_spec(name)}


def main() -> None:
    """Measure in turn and print a Markdown table: means over the seeds, and medians of the ratios within a round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--npz", type=Path, help="a file in MedMNIST's layout")
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
    parser.add_argument("--only", choices=PLAIN, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        PLAIN[options.only](options, options.seeds[0])
        return
    options.out.mkdir(parents=True, exist_ok=True)
    write_folders(options.npz, options.out / "cells", options.steps // options.epochs * options.batch_size)
    found = peers(options)
    rounds = [{name: measure(*peer(options, seed)) for name, peer in found.items()} for seed in options.seeds]
    print("| trained by | images/s | ratio | command | ratio | memory | ratio | validation accuracy |\n|" + "---|" * 8)
    for name in found:
        own = [measured[name] for measured in rounds]
        cells = [name]
        for column, form in ((0, "{:.0f}"), (1, "{:.1f} s"), (2, "{:.0f} MiB")):
            ratio = statistics.median(measured[name][column] / measured["bcc_lightning"][column] for measured in rounds)
            cells += [form.format(statistics.mean(one[column] for one in own)), f"{ratio:.2f}"]
        accuracies = [one.accuracy for one in own]
        cells.append(f"{statistics.mean(accuracies):.3f} ({', '.join(f'{value:.3f}' for value in accuracies)})")
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
