"""Experiments on single blood cells, trained, tracked, explained and compared under one honest protocol.

Public names are those of ``__init__.pyi``; each is imported when it is first used::

    import bcc_lightning as bcc

    run = bcc.fit("quickstart")
    bcc.load(run).predict(["cell.png"])
"""

import os

import lazy_loader

from bcc_lightning.surroundings import complete_account, limit_spinning, refuse_missing_folder

refuse_missing_folder()
complete_account()
limit_spinning()

# Albumentations asks the network for a newer version when it is imported; a training run has no business there.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
