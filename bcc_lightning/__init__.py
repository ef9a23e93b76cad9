"""Experiments on single blood cells, trained, tracked, explained and compared under one honest protocol."""

import os

from bcc_lightning.surroundings import complete_account, refuse_missing_folder

refuse_missing_folder()
complete_account()

# Albumentations asks the network for a newer version when it is imported; a training run has no business there.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

__version__ = "0.1.0"
