"""Which public sets of cells known weights were trained on: a test on one of them says little about new cells."""

import re
from collections.abc import Iterable
from typing import NamedTuple


class KnownWeights(NamedTuple):
    """Published weights.

    Attributes:
        name: what people call them.
        pattern: of the names of their files and of timm's networks, in lower case.
        sets: patterns of the names of the data sets that they were trained on, in lower case, and what people call these.
        source: where this is said.
    """

    name: str
    pattern: str
    sets: dict[str, str]
    source: str


KNOWN = (
    KnownWeights(
        "DinoBloom",
        r"dino.?bloom",
        {"bccd": "BCCD", "lisc": "LISC", "raabin": "Raabin-WBC", "segmentation.?wbc": "segmentation_wbc"},
        "Koch et al. 2024, arXiv 2404.05022; PBC was held out",
    ),
)
"""Of other weights that can be named here, ImageNet's and those of DINOv2 and DINOv3, no set of single cells is known."""


def contamination(weights: Iterable[str], data: Iterable[str]) -> list[str]:
    """Describe in sentences which data sets known weights were trained on.

    Args:
        weights: names of files or networks that the weights are from.
        data: names of the data sets that are tested on, or of their folders.
    """
    found = []
    names = [name.lower() for name in data]
    for known in KNOWN:
        if any(re.search(known.pattern, text.lower()) for text in weights):
            for pattern, title in known.sets.items():
                if any(re.search(pattern, name) for name in names):
                    found.append(
                        f"{known.name} was trained on {title} ({known.source}): figures on that set say little about new cells."
                    )
    return found
