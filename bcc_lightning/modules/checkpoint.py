"""From a checkpoint file back to a module, without data, configuration or network."""

from importlib import import_module
from pathlib import Path

import torch

from bcc_lightning.errors import UserError
from bcc_lightning.modules.base import CLASS_PATH, CellClassifier


def load_classifier(file: str | Path) -> CellClassifier:
    """Load a trained module from a checkpoint of this project.

    Args:
        file: ``best.ckpt`` of a run; read without running code from it.

    Returns:
        The module on the CPU, in evaluation mode.

    Raises:
        UserError: the file does not exist or is no checkpoint of this project.
    """
    if not Path(file).is_file():
        raise UserError(f"checkpoint {file} does not exist")
    checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    if CLASS_PATH not in checkpoint:
        raise UserError(f"{file} is no checkpoint of this project: it lacks '{CLASS_PATH}'")
    package, name = checkpoint[CLASS_PATH].rsplit(".", 1)
    arguments = {key: value for key, value in checkpoint["hyper_parameters"].items() if not key.startswith("_")}
    # Where the weights once started from does not matter any more.
    arguments |= {key: None for key in arguments if key.endswith("weights")}
    module: CellClassifier = getattr(import_module(package), name)(**{**arguments, "pretrained": False})
    module.load_state_dict(checkpoint["state_dict"])
    return module.eval()
