"""The options of a command, read before anything heavy is imported: mistakes are told at once, and so is ``--help``."""

import re
import textwrap
from argparse import SUPPRESS, Action
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

from jsonargparse import ArgumentParser, Namespace

from bcc_lightning.cli.help import WIDTH, first_sentence, rows
from bcc_lightning.cli.wording import plain_words
from bcc_lightning.errors import UserError, nearest
from bcc_lightning.tracking.run_files import refuse_missing_checkpoint
from bcc_lightning.tracking.settings import FOUND_BY, Tracking

RUN = "a run id or its beginning, the name of an experiment (its newest finished run), last (of all), or models:/NAME@ALIAS"

ALWAYS = (
    ("--help", "this list"),
    ("--traceback", "show where in the program an error arose"),
    ("--trust PACKAGE", "allow classes of a package of your own"),
)
"""Options of all commands, see `bcc_lightning.cli.command`."""

PLACEHOLDERS: dict[Any, str] = {bool: "true|false", int: "N", float: "X", str: "TEXT", list[str]: "[A, B]"}
"""What stands for a value of each type."""


class OptionParser(ArgumentParser):
    """Reads the options of a command; its errors are exceptions without a usage text.

    Args:
        command: name of the command, such as ``predict``.
        purpose: what it does, in its first line: the documentation of the module.
        example: arguments of an example.
        beyond: further options, which the command reads in another way.
        hint: what follows the error for an unknown option.
    """

    def __init__(
        self, command: str = "", purpose: str | None = None, example: str = "", beyond: Sequence[str] = (), hint: str = ""
    ) -> None:
        super().__init__(
            prog=f"python -m bcc_lightning.{command}",
            description=(purpose or "").partition("\n")[0],
            add_help=False,
            allow_abbrev=False,
        )
        self.example = f"{self.prog} {example}"
        self.beyond = beyond
        self.hint = hint

    def read(self, argv: list[str]) -> Namespace:
        """Read the options of a call.

        Raises:
            UserError: an option is unknown or missing, or has a value that is not allowed.
            SystemExit: help was asked for and has been printed.
        """
        before_files = argv[: argv.index("--")] if "--" in argv else argv
        named = [argument for argument in before_files if re.match(r"-(-\w|[a-zA-Z])", argument)]
        if {"--help", "-h"} & set(named):
            print(self.help_text(argv))
            raise SystemExit(0)
        for argument in named:
            self.refuse_unknown(argument.partition("=")[0].removesuffix("+"))
        try:
            return self.parse_args(argv)
        except UserError as error:
            raise UserError(self.in_words(str(error))) from error

    def refuse_unknown(self, option: str) -> None:
        """Refuse an option that does not exist, with the nearest one that does."""
        known = [*self._option_string_actions, *self.beyond, *(name.split()[0] for name, _ in ALWAYS)]
        if option not in known:
            near = nearest(option, known) or ";"
            raise UserError(f"{option} is not an option of this command{near} `{self.prog} --help` lists them{self.hint}")

    def in_words(self, message: str) -> str:
        """Put an error of the parser into words: which options are missing, or what is wrong with one."""
        if found := re.search(r"arguments are required: (.*)", message):
            missing = [action for action in self._actions if action.dest in found[1].split(", ")]
            told = "; ".join(f"{shown(action)} is missing: {action.help}" for action in missing)
            return f"{told}. Example: {self.example}"
        if found := re.search(r"argument (\S+): expected one argument", message):
            return f"{found[1]} needs a value"
        return re.sub(r"key '([\w.]+)'", r"--\1", plain_words(message))

    def help_text(self, argv: Sequence[str]) -> str:
        """Describe the command: what it does, its options with their defaults, an example."""
        lines = [*textwrap.wrap(str(self.description), WIDTH), "", f"Example: {self.example}"]
        for group in self._action_groups:
            if entries := list(entries_of(group._group_actions)):
                title = "Options" if group.title in {"positional arguments", "options"} else first_sentence(str(group.title))
                title = title[0].upper() + title[1:]
                lines += [*([] if title in lines else ["", title]), *rows(entries)]
        return "\n".join([*lines, "", "All commands", *rows(ALWAYS)])

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise a `UserError` with the parser's own message."""
        raise UserError(message) from ex


def entries_of(actions: Sequence[Action]) -> Iterator[tuple[str, str]]:
    """Yield options as `rows` takes them: name with a placeholder for its value, and purpose with the default behind it."""
    for action in actions:
        if action.default == SUPPRESS:  # takes a file with several options, which nobody needs
            continue
        told = " (required)" if is_required(action) else default_of(action)
        yield shown(action), f"{first_sentence(str(action.help))}{told}"


def default_of(action: Action) -> str:
    """Format the default of an option; empty where it says nothing."""
    default = action.default
    if action.nargs == 0 or default in (None, [], {}):
        return ""
    if isinstance(default, bool):
        return f" [{str(default).lower()}]"
    return f" [{', '.join(map(str, default)) if isinstance(default, list) else default}]"


def is_required(action: Action) -> bool:
    """Check whether a command cannot do without an option."""
    return action.required and action.nargs != "*"


def shown(action: Action) -> str:
    """Format an option with a placeholder for its value."""
    if not action.option_strings:
        return f"{action.metavar} ..."
    return f"{action.option_strings[0]} {placeholder(action)}".strip()


def placeholder(action: Action) -> str:
    """Return what stands for the value of an option: the values that are allowed, the option's own word, or one for its type."""
    hint = getattr(action, "_typehint", None)
    kinds = [kind for kind in (get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)) if kind is not NoneType]
    if get_origin(kinds[0]) is Literal:
        return "|".join(map(str, get_args(kinds[0])))
    if action.nargs == 0:
        return ""
    own = action.metavar if isinstance(action.metavar, str) and action.metavar[0].isupper() else None  # not jsonargparse's
    return own or PLACEHOLDERS.get(kinds[0], "VALUE")


def refuse_below(least: int, **values: int | None) -> None:
    """Refuse whole numbers that are too small, before anything is computed with them.

    Args:
        least: the smallest that is allowed.
        **values: values by option; None where one was not given.

    Raises:
        UserError: with the first that is too small, and what is allowed.
    """
    for name, value in values.items():
        if value is not None and value < least:
            raise UserError(f"--{name} is {value}, it must be {least} or more")


def add_network_options(parser: OptionParser) -> None:
    """Declare which trained network a command takes, and where its run is kept."""
    which = parser.add_argument_group("Trained network")
    which.add_argument("--run", action="append", default=[], metavar="RUN", help=RUN)
    which.add_argument("--checkpoint", action="append", default=[], metavar="FILE", help="a checkpoint file instead of a run")
    add_place_options(parser)


def add_place_options(parser: OptionParser) -> None:
    """Declare where runs are kept."""
    others = {field.name for field in fields(Tracking)} - set(FOUND_BY)
    parser.add_class_arguments(Tracking, "tracking", skip=others)


def tracking_named(options: Any) -> Tracking:  # noqa: ANN401 - jsonargparse's namespace
    """Return where runs are kept."""
    return Tracking(**vars(options["tracking"]))


def refuse_unnamed_network(options: Any, *, several: bool = False) -> None:  # noqa: ANN401 - jsonargparse's namespace
    """Check that a call names a trained network, and that its file exists; whether a run exists takes longer to find out.

    Args:
        options: the options of the call.
        several: whether the command takes several.

    Raises:
        UserError: none is named, too many are, or a file does not exist.
    """
    for file in options["checkpoint"]:
        refuse_missing_checkpoint(Path(file))
    named = [*options["run"], *options["checkpoint"]]
    if not named:
        raise UserError(f"name a trained network with --run R ({RUN}), or with --checkpoint FILE")
    if not several:
        refuse_several(len(named))


def refuse_several(networks: int) -> None:
    """Refuse several networks where a command takes one.

    Raises:
        UserError: with their number.
    """
    if networks > 1:
        raise UserError(
            f"--run and --checkpoint name {networks} networks, this command takes one; to let several vote, combine them "
            "with python -m bcc_lightning.ensemble"
        )
