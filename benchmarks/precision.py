"""Training speed of each backbone by layout and precision, on which `architectures.acceleration` is based.

python benchmarks/precision.py --image-size 64 --backbones swin_tiny_patch4_window7_224 efficientnet_b0
"""

import argparse
import time

import torch

from bcc_lightning.architectures.acceleration import Precision, runs_in_bf16
from bcc_lightning.architectures.backbone import Backbone

WARM_UP = 2


def images_per_second(backbone: Backbone, images: torch.Tensor, steps: int) -> float:
    """Time forward and backward passes over one batch."""
    start = 0.0
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            start = time.perf_counter()
        backbone(images).square().mean().backward()
    return steps * len(images) / (time.perf_counter() - start)


def main() -> None:
    """Measure alternately and print ratios to float32 in the usual layout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--backbones", nargs="+", default=["swin_tiny_patch4_window7_224", "efficientnet_b0"])
    arguments = parser.parse_args()
    images = torch.rand(arguments.batch_size, 3, arguments.image_size, arguments.image_size)
    for name in arguments.backbones:
        speeds = {}
        precisions: dict[str, Precision] = {"float32": "32", "bfloat16": "bf16"}
        for label, precision in precisions.items():
            backbone = Backbone(name, arguments.image_size, pretrained=False, precision=precision)
            speeds[f"{label}, channels_last"] = images_per_second(backbone, images, arguments.steps)
        usual = Backbone(name, arguments.image_size, pretrained=False, precision="32").to(memory_format=torch.contiguous_format)
        base = images_per_second(usual, images, arguments.steps)
        chosen = "bfloat16" if runs_in_bf16(usual.network, images.device, "auto") else "float32"
        print(f"{name}: float32 {base:.1f} images/s; auto takes {chosen}")
        for label, speed in speeds.items():
            print(f"  {label:<26}{speed:7.1f} images/s  {speed / base:.2f} times")


if __name__ == "__main__":
    main()
