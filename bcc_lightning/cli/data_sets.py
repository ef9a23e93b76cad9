"""The data set that a command other than `fit` names: its flags are checked by name first, and built into a data module later."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from bcc_lightning.cli.early import chosen_classes, refuse_missing_data, refuse_misspelt
from bcc_lightning.cli.help import USUAL, class_rows
from bcc_lightning.cli.options import OptionParser
from bcc_lightning.cli.wording import plain_words
from bcc_lightning.errors import UserError

if TYPE_CHECKING:
    from bcc_lightning.datamodules import CellDataModule


TRAINING = {"augment", "laboratory", "views", "balance", "mixing", "mixup_alpha", "cutmix_alpha"}
"""Arguments of data sets that only training uses."""


class DataOptionParser(OptionParser):
    """Reads the options of a command that takes a data set as ``--data NAME --data.KEY VALUE``.

    Args:
        command: name of the command; this and what follows as `OptionParser` takes it.
        purpose: what it does.
        example: arguments of an example.

    Attributes:
        flags: those of the data set, once the options have been read; empty where none is named.
    """

    def __init__(self, command: str, purpose: str | None, example: str) -> None:
        super().__init__(command, purpose, example, beyond=("--data",))
        self.flags: list[str] = []

    def read_with_data(self, argv: list[str]) -> Namespace:
        """Read the options of a call and check the flags of the data set.

        Raises:
            UserError: as `OptionParser.read`, or the data set, a key or a value does not exist.
            SystemExit: help was asked for and has been printed.
        """
        self.flags, own = separate_data(argv)
        options = self.read(own)
        refuse_misspelt(self.flags, f"`{self.prog} --help` lists the keys that are")
        refuse_missing_data(self.flags)
        return options

    def help_text(self, argv: Sequence[str]) -> str:
        """Describe the command, and the data set that is named, without what the command lists itself or only training uses."""
        name = chosen_classes(self.flags)["data"] or USUAL["data"]
        own = {option.removeprefix("--data.") for option in self._option_string_actions if option.startswith("--data.")}
        return "\n".join([super().help_text(argv), "", *class_rows("data", "Data set", name, own | TRAINING)])


def names_data(argv: Sequence[str]) -> bool:
    """Check whether a call names a data set."""
    return any(argument.partition("=")[0] == "--data" for argument in argv)


def separate_data(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate the flags of the data set, with their values, from all other arguments."""
    flags: list[str] = []
    others: list[str] = []
    place = 0
    while place < len(argv):
        name, equals, _ = argv[place].partition("=")
        belongs = name == "--data" or name.startswith("--data.")
        has_value = belongs and not equals and place + 1 < len(argv) and not argv[place + 1].startswith("--")
        following = place + (2 if has_value else 1)
        (flags if belongs else others).extend(argv[place:following])
        place = following
    return flags, others


def build_data(flags: list[str]) -> "CellDataModule":
    """Build the data module that flags describe; this loads what takes seconds.

    Raises:
        UserError: a value is not allowed.
    """
    from bcc_lightning.cli.parser import ExperimentParser
    from bcc_lightning.datamodules import CellDataModule

    parser = ExperimentParser()
    parser.add_subclass_arguments(CellDataModule, "data", required=True)
    try:
        options = parser.parse_args(flags)
    except UserError as error:
        raise UserError(plain_words(str(error))) from error
    built: CellDataModule = parser.build(options)["data"]
    return built
