"""Weights trained and time of a training step by `--model.tuning`.

All modes train the same batch in turn, several times; ratios to `full` are taken within a round, and their median is printed.

    python benchmarks/tuning_modes.py --image-size 64 --backbones tf_efficientnet_lite0 swin_tiny_patch4_window7_224
"""

import argparse
import statistics
import time

import torch
from torch.nn.functional import cross_entropy

from bcc_lightning.errors import UserError
from bcc_lightning.modules import TransferClassifier
from bcc_lightning.modules.optimization import Recipe, make_optimizer

MODES = ("full", "last:3", "lora", "bitfit", "head")
CLASSES = [f"class {number}" for number in range(8)]
WARM_UP = 1


def seconds_per_step(module: TransferClassifier, images: torch.Tensor, labels: torch.Tensor, steps: int) -> float:
    """Time forward and backward passes and steps of the optimiser over one batch."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = make_optimizer([{"params": trained}], "adamw", Recipe(lr=1e-4))
    start = 0.0
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            start = time.perf_counter()
        optimizer.zero_grad()
        cross_entropy(module.network(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return (time.perf_counter() - start) / steps


def main() -> None:
    """Measure in turn and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backbones", nargs="+", default=["tf_efficientnet_lite0", "swin_tiny_patch4_window7_224"])
    options = parser.parse_args()
    images = torch.rand(options.batch_size, 3, options.image_size, options.image_size)
    labels = torch.arange(options.batch_size) % len(CLASSES)
    print("| backbone | tuning | weights trained | share | seconds per step | ratio to full |\n|" + "---|" * 6)
    for backbone in options.backbones:
        modules = {}
        for mode in MODES:
            try:
                arguments = {"class_names": CLASSES, "image_size": options.image_size, "pretrained": False, "tuning": mode}
                modules[mode] = TransferClassifier(backbone=backbone, **arguments)
            except UserError as error:
                print(f"| `{backbone}` | `{mode}` | {str(error).partition(';')[0]} | | | |")
        rounds = [
            {mode: seconds_per_step(module, images, labels, options.steps) for mode, module in modules.items()}
            for _ in range(options.rounds)
        ]
        for mode, module in modules.items():
            trained = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
            share = trained / sum(parameter.numel() for parameter in module.parameters())
            seconds = statistics.median(measured[mode] for measured in rounds)
            ratio = statistics.median(measured[mode] / measured["full"] for measured in rounds)
            print(f"| `{backbone}` | `{mode}` | {trained:,} | {100 * share:.1f} % | {seconds:.3f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
