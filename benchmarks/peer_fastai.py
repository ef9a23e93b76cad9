"""What `peers.py` compares with: fastai. Arguments and output are those of `peer_lightning.py`."""

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from fastai.vision import all as fastai

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Clock:
    """Times the training of all epochs, without the validation between them."""

    def __init__(self) -> None:
        self.seconds = self.start = 0.0

    def begin(self, _: object) -> None:
        """Start the clock."""
        self.start = time.perf_counter()

    def end(self, _: object) -> None:
        """Read the clock."""
        self.seconds += time.perf_counter() - self.start


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=Path, required=True)
    parser.add_argument("--model", required=True)
    for name in ("image-size", "batch-size", "epochs", "workers", "seed"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--lr", type=float, required=True)
    options = parser.parse_args()
    fastai.set_seed(options.seed, reproducible=True)
    loaders: Any = fastai.ImageDataLoaders.from_folder(
        options.cells,
        valid="val",
        item_tfms=fastai.Resize(options.image_size),
        batch_tfms=[fastai.Flip(), fastai.Normalize.from_stats(MEAN, STD)],
        bs=options.batch_size,
        num_workers=options.workers,
        device="cpu",
    )
    adamw, clock = partial(fastai.OptimWrapper, opt=torch.optim.AdamW), Clock()
    network = timm.create_model(options.model, num_classes=loaders.c)
    timed = fastai.Callback(before_train=clock.begin, after_train=clock.end)
    learner = fastai.Learner(loaders, network, opt_func=adamw, metrics=fastai.accuracy, wd=0.05, cbs=timed)
    learner.fit(options.epochs, options.lr)
    print(len(loaders.train_ds) * options.epochs / clock.seconds, float(learner.validate()[1]))


if __name__ == "__main__":
    main()
