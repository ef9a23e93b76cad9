"""Experiments on single blood cells, trained, tracked, explained and compared under one honest protocol."""

import os

# Albumentations asks the network for a newer version when it is imported; a training run has no business there.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

__version__ = "0.1.0"
