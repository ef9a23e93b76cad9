"""The colours to which `--model.stain` brings every image, measured on a data set: python benchmarks/stain_reference.py ROOT."""

import sys

import numpy as np
import torch

from bcc_lightning.architectures.stain_normalisation import CLEAR, LIGHT, STRONG, density_of, stains_of, to_lab
from bcc_lightning.datamodules import CellFolder
from bcc_lightning.datasets.nucleus import spread

SIDE = 96


def main() -> None:
    """Print mean and deviation in the lab space, the two stains, and their amounts."""
    cells = CellFolder(root=sys.argv[1], image_size=SIDE).splits["train"]
    images = torch.from_numpy(cells.take(spread(len(cells)))).permute(0, 3, 1, 2).float() / 255
    lab = to_lab(images)
    print("lab mean", lab.mean((2, 3)).mean(0).tolist(), "deviation", lab.std((2, 3)).mean(0).tolist())
    stains, amounts = [], []
    for image in images:
        density = density_of(image)
        own = stains_of(density[density.mean(1) > CLEAR])
        stains.append(own.numpy())
        amounts.append(torch.linalg.lstsq(own.T, density.T).solution.quantile(STRONG, dim=1).numpy())
    print("ground", images.flatten(2).quantile(LIGHT, dim=2).median(0).values.tolist())
    print("stains", np.median(stains, axis=0).tolist(), "amounts", np.median(amounts, axis=0).tolist())


if __name__ == "__main__":
    main()
