"""What ``fit --help`` prints: keys by group with defaults and purposes, for the experiment that is named, at once."""

import ast
import re
import textwrap
from collections.abc import Collection, Iterable, Sequence

from bcc_lightning.cli.accepted import Argument, accepted
from bcc_lightning.cli.early import chosen_classes
from bcc_lightning.cli.values import types_of

WIDTH, KEYS = 100, 34
"""Columns of a line, and of its first part."""

PURPOSE = "Train an experiment, test it once, explain it and file the run."
EXAMPLE = "python -m bcc_lightning.fit --exp house --data CellFolder --data.root cells --data.image_size 32"

CALL = (
    ("--exp NAME", "an experiment of `python -m bcc_lightning`, or a YAML file; several stack"),
    ("--resume last|RUN", "go on with a run that was interrupted"),
    ("--folds K", "cross-validate; --repeats N divides N times"),
    ("--summary FILE", "copy the figures of the run to a JSON file"),
    ("--seed_everything N", "seed of the run"),
    ("--print_config", "print the whole configuration and stop"),
    ("--trust PACKAGE", "allow classes of a package of your own"),
)

TRAINER = {
    "max_epochs": "epochs at most",
    "max_time": "time at most, as DD:HH:MM:SS",
    "max_steps": "steps at most",
    "devices": "how many GPUs, or which",
    "accelerator": "cpu, gpu, or auto",
    "precision": "such as bf16-mixed",
    "limit_train_batches": "share or number of the training batches",
    "check_val_every_n_epoch": "epochs between validations",
    "gradient_clip_val": "largest norm of the gradients",
    "accumulate_grad_batches": "batches per step",
    "enable_progress_bar": "whether progress is shown",
}
"""Lightning's arguments that people use, in a few words each; all others are accepted too."""

USUAL = {"data": "CellFolder", "model": "TransferClassifier"}
"""Classes whose arguments are listed where none is named."""

HIDDEN = {"class_names", "levels"}
"""Arguments that follow from the data."""


def help_text(argv: Sequence[str]) -> str:
    """Write the help for a call; what is named in it decides whose arguments are listed."""
    chosen = USUAL | {group: name for group, name in chosen_classes(argv).items() if name}
    groups = accepted()
    lines = [PURPOSE, "", f"Example: {EXAMPLE}", "", *rows(CALL)]
    for group, title in (("data", "Data set"), ("model", "Network")):
        lines += ["", *class_rows(group, title, chosen[group])]
    lines += ["", "Which epoch is kept, and when training stops"]
    lines += rows(listed("selection", groups["selection"].arguments("").values()))
    lines += ["", "Lightning's trainer (the most used; all its arguments are accepted)"]
    lines += rows((f"--trainer.{name}", purpose) for name, purpose in TRAINER.items())
    lines += ["", "Where runs are kept"]
    lines += rows(listed("tracking", groups["tracking"].arguments("").values()))
    return "\n".join(lines)


def class_rows(group: str, title: str, name: str, unlisted: Collection[str] = ()) -> list[str]:
    """Describe a data set or a network: what it is, which others there are, its arguments but for some."""
    known = accepted()[group]
    others = ", ".join(one for one in known.classes if one != name)
    purpose = first_sentence(known.summaries.get(name, ""))
    taken = listed(group, (one for one in known.arguments(name).values() if one.name not in unlisted))
    told = f"{title}: {name}. {purpose}. --{group} CLASS takes another: {others}"
    return [*textwrap.wrap(told, WIDTH, subsequent_indent="  "), *rows(taken)]


def listed(group: str, arguments: Iterable[Argument]) -> Iterable[tuple[str, str]]:
    """Yield key and purpose of arguments; of a purpose the first sentence, the values to choose from, and the default."""
    for one in arguments:
        if one.name not in HIDDEN:
            purpose = first_sentence(one.purpose)
            missing = [value for value in choices(one) if not re.search(rf"\b{re.escape(value)}\b", purpose)]
            purpose += f": {', '.join(choices(one))}" if missing else ""
            default = one.default.strip("'")
            says_nothing = default in {"", "None"} or default.isupper()  # a constant's name
            yield f"--{group}.{one.name}", purpose if says_nothing else f"{purpose} [{default}]"


def choices(argument: Argument) -> list[str]:
    """List the words that an argument takes, if it takes nothing else but null."""
    types = types_of(ast.parse(argument.annotation, mode="eval").body, argument.file) if argument.annotation else None
    return [str(value) for kind in types or () if isinstance(kind, tuple) for value in kind]


def first_sentence(text: str) -> str:
    """Return the first sentence of a docstring, without its marks."""
    return re.split(r"\.(?: (?=[A-Z])|$)", text.replace("``", ""))[0]


def rows(entries: Iterable[tuple[str, str]], keys: int = KEYS) -> list[str]:
    """Lay out keys and purposes in two columns, the first of which has so many characters."""
    found = []
    for key, purpose in entries:
        wrapped = textwrap.wrap(purpose, WIDTH - keys) or [""]
        first = f"  {key:<{keys - 2}}" if len(key) < keys - 3 else f"  {key}\n{' ' * keys}"
        found += [first + wrapped[0], *(" " * keys + line for line in wrapped[1:])]
    return found
