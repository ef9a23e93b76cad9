"""From a checkpoint file back to a module, without data, configuration or network."""

from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from bcc_lightning.errors import UserError
from bcc_lightning.interruption import interruption_held
from bcc_lightning.modules.base import CLASS_PATH, CellClassifier
from bcc_lightning.whole_file import whole_file


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
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError) as error:
        raise UserError(f"{file} is no checkpoint of this project, or damaged: {error!s:.200}") from error
    if CLASS_PATH not in checkpoint:
        raise UserError(f"{file} is no checkpoint of this project: it lacks '{CLASS_PATH}'")
    module = build_classifier({"class_path": checkpoint[CLASS_PATH], "init_args": checkpoint["hyper_parameters"]})
    module.load_state_dict(checkpoint["state_dict"])
    return module.eval()


def save_classifier(module: CellClassifier, file: Path) -> None:
    """Write a module as a checkpoint that `load_classifier` reads, for a module that no trainer has trained."""
    checkpoint = {"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams)}
    module.on_save_checkpoint(checkpoint)
    write_checkpoint(checkpoint, file)


def write_checkpoint(checkpoint: dict[str, Any], file: Path) -> None:
    """Write a checkpoint whole or not at all.

    An error within a write, and an interruption too, torch turns into a `RuntimeError` that names a position in the file. Hence
    interruptions wait, and the file is opened here: where torch opens it, the error of the disk is lost.

    Raises:
        OSError: the disk is full.
    """
    with interruption_held(), whole_file(file) as draft, draft.open("wb") as stream:
        try:
            torch.save(checkpoint, stream)
        except RuntimeError as error:
            reason = error.__context__
            if isinstance(reason, OSError):
                raise OSError(reason.errno, reason.strerror, str(file)) from error
            raise


def build_classifier(description: dict[str, Any]) -> CellClassifier:
    """Build a module with random weights from a description as `describe_classifier` gives it.

    Raises:
        UserError: the class is none of a cell classifier; a file may name anything, so nothing else is called.
    """
    package, name = description["class_path"].rsplit(".", 1)
    kind = getattr(import_module(package), name)
    if not (isinstance(kind, type) and issubclass(kind, CellClassifier)):
        raise UserError(f"a checkpoint names the class {description['class_path']}, which is no CellClassifier")
    return kind(**plain_arguments(description["init_args"]))


def describe_classifier(module: CellClassifier) -> dict[str, Any]:
    """Describe a module in a plain dict: ``class_path`` and ``init_args``."""
    kind = type(module)
    return {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": plain_arguments(dict(module.hparams))}


def plain_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """Leave out of a module's arguments where its weights once started from: that does not matter any more."""
    own = {key: value for key, value in arguments.items() if not key.startswith("_")}
    return own | {key: None for key in own if key.endswith("weights")} | {"pretrained": False}
