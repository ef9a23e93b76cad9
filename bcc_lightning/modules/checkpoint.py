"""From a checkpoint file back to a module, without data, configuration or network."""

from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from bcc_lightning.errors import UserError
from bcc_lightning.files import whole_file
from bcc_lightning.modules.base import CLASS_PATH, CellClassifier
from bcc_lightning.modules.tuning import merge
from bcc_lightning.processes import interruption_held
from bcc_lightning.trust import OPTION, is_trusted

REFUSED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    UserError,
    ValueError,
)
"""What constructors raise on hyper-parameters that somebody has altered, or another version has written."""


def load_classifier(file: str | Path) -> CellClassifier:
    """Load a trained module from a checkpoint of this project.

    Args:
        file: ``best.ckpt`` of a run; read without running code from it.

    Returns:
        The module on the CPU, in evaluation mode.

    Raises:
        UserError: the file does not exist, is not a checkpoint of this project, or its parts do not fit one another.
    """
    checkpoint = read_checkpoint(file)
    try:
        module = build_classifier({"class_path": checkpoint[CLASS_PATH], "init_args": checkpoint["hyper_parameters"]})
        module.load_state_dict(checkpoint["state_dict"])
        merge(module.network)
    except (UserError, RuntimeError, TypeError, AttributeError) as error:
        raise UserError(f"{file}: {' '.join(str(error).split())[:600]}") from error
    return module.eval()


def read_checkpoint(file: str | Path) -> dict[str, Any]:
    """Read a checkpoint of this project without running code from it.

    Args:
        file: the checkpoint.

    Returns:
        Its content, with the name of the class, hyper-parameters and weights among it.

    Raises:
        UserError: the file does not exist, is damaged, holds more than weights and plain values, or is not one of this project.
    """
    if not Path(file).is_file():
        raise UserError(f"checkpoint {file} does not exist")
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise UserError(
            f"{file} is not a checkpoint of this project, or damaged: it holds something other than weights and plain values, "
            "which could run code and is not read"
        ) from error
    # On a damaged file torch also raises what comes from unpacking its archive.
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{file} is not a checkpoint of this project, or damaged: {error!s:.200}") from error
    kinds = {CLASS_PATH: str, "hyper_parameters": dict, "state_dict": dict}
    if not isinstance(checkpoint, dict):
        raise UserError(f"{file} is not a checkpoint of this project: it holds a {type(checkpoint).__name__}")
    if missing := [key for key, kind in kinds.items() if not isinstance(checkpoint.get(key), kind)]:
        raise UserError(f"{file} is not a checkpoint of this project: it lacks '{missing[0]}'")
    return checkpoint


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
        UserError: the class is not known here, or its constructor refuses the arguments.
    """
    name, arguments = description.get("class_path"), description.get("init_args")
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise UserError(f"a module is described by class_path and init_args, not by {description!r:.100}")
    kind = find_class(name)
    try:
        return kind(**plain_arguments(arguments))
    except REFUSED as error:
        raise UserError(f"{kind.__name__} cannot be built with the hyper-parameters that are stored: {error!s:.300}") from error


def find_class(name: str) -> type[CellClassifier]:
    """Find a class of modules by its full name; nothing is imported unless a person trusts it.

    Args:
        name: module and name of the class.

    Raises:
        UserError: no such class is defined.
    """
    if is_trusted(name):
        with suppress(ImportError):
            import_module(name.rpartition(".")[0])
    known = {full_name(kind): kind for kind in subclasses(CellClassifier)}
    if name in known:
        return known[name]
    raise UserError(
        f"class '{name}' is not one of the known modules ({', '.join(sorted(kind.__name__ for kind in known.values()))}). Next "
        f"step: if you trust its package, add {OPTION} PACKAGE on the command line, or import it in Python before loading"
    )


def subclasses(kind: type[CellClassifier]) -> Iterator[type[CellClassifier]]:
    """List the subclasses of a class, and theirs, in the order of their definition."""
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


def full_name(kind: type) -> str:
    """Return module and name of a class, as a checkpoint names it."""
    return f"{kind.__module__}.{kind.__qualname__}"


def describe_classifier(module: CellClassifier) -> dict[str, Any]:
    """Describe a module in a plain dict: ``class_path`` and ``init_args``."""
    return {"class_path": full_name(type(module)), "init_args": plain_arguments(dict(module.hparams))}


def plain_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """Leave out of a module's arguments where its weights once started from: that does not matter any more."""
    own = {key: value for key, value in arguments.items() if not key.startswith("_")}
    return own | {key: None for key in own if key.endswith("weights")} | {"pretrained": False}
