"""The ranges of a module's arguments, checked before anything is built."""

from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Literal

from bcc_lightning.errors import UserError

Averaging = Literal["none", "ema", "swa"]

NOT_NEGATIVE = ("0 or more", lambda x: 0 <= x < inf)
BELOW_ONE = ("from 0 to below 1", lambda x: 0 <= x < 1)

RANGES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "class_names": ("two names or more, each once", lambda x: len(set(x)) == len(x) > 1),
    "image_size": ("1 or more", lambda x: x >= 1),
    "lr": NOT_NEGATIVE,
    "focal_gamma": NOT_NEGATIVE,
    "weight_decay": NOT_NEGATIVE,
    "warmup_epochs": NOT_NEGATIVE,
    "momentum": BELOW_ONE,
    "label_smoothing": BELOW_ONE,
    "ema_decay": BELOW_ONE,
    "swa_start": BELOW_ONE,
    "layer_decay": ("above 0, up to 1, which switches it off", lambda x: 0 < x <= 1),
    "lr_factor": ("above 0 and below 1", lambda x: 0 < x < 1),
    "plateau_patience": ("1 or more", lambda x: x >= 1),
    "milestones": ("epochs from 1 in ascending order", lambda x: not x or (x[0] >= 1 and sorted(set(x)) == list(x))),
}


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Check the arguments of a module.

    Args:
        arguments: values by name, those of `bcc_lightning.modules.base.CellClassifier`.

    Raises:
        UserError: a value is out of its range, or two exclude one another.
    """
    for name, (allowed, holds) in RANGES.items():
        if not holds(arguments[name]):
            raise UserError(f"--model.{name} is {arguments[name]}, it must be {allowed}")
    if arguments["schedule"] == "step" and not arguments["milestones"]:
        raise UserError("--model.schedule step needs the epochs of its steps, e.g. --model.milestones [50,75]")
    if arguments["schedule"] == "plateau" and arguments["warmup_epochs"]:
        raise UserError("--model.schedule plateau takes no warm-up; leave --model.warmup_epochs out, or use step or cosine")
