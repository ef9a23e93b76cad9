"""Weights trained and time of a training step by `--model.tuning`.

All modes train the same batch in turn, several times; ratios to `full` are taken within a round, and their median is printed.

    python benchmarks/tuning_modes.py --image-size 64 --backbones tf_efficientnet_lite0 swin_tiny_patch4_window7_224
"""

import argparse
import statistics

from fit_overhead import bare_loop

from bcc_lightning.datamodules import SyntheticSmear
from bcc_lightning.errors import UserError
from bcc_lightning.modules import TransferClassifier

MODES = ("full", "last:3", "lora", "bitfit", "head")


def main() -> None:
    """Measure in turn and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backbones", nargs="+", default=["tf_efficientnet_lite0", "swin_tiny_patch4_window7_224"])
    options = parser.parse_args()
    data = SyntheticSmear(train_cells=options.batch_size, image_size=options.image_size, batch_size=options.batch_size)
    data.setup()
    print("| backbone | tuning | weights trained | share | seconds per step | ratio to full |\n|" + "---|" * 6)
    for backbone in options.backbones:
        modules = {}
        for mode in MODES:
            try:
                modules[mode] = TransferClassifier.for_data(data, backbone=backbone, pretrained=False, tuning=mode)
            except UserError as error:
                print(f"| `{backbone}` | `{mode}` | {str(error).partition(';')[0]} | | | |")
        rounds = [
            {mode: options.batch_size / bare_loop(module, data, options.steps) for mode, module in modules.items()}
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
