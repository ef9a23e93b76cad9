"""What all commands share: exit codes, quiet libraries, and the options that are read before the configuration."""

import logging
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from types import FrameType

from lightning.fabric.utilities.exceptions import MisconfigurationException

from bcc_lightning.errors import UserError
from bcc_lightning.trust import OPTION, trusting

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

NOISE = (
    r".*does not have many workers.*",  # the number of workers is chosen on purpose
    r".*The number of training batches.*is smaller than the logging interval.*",
    r".*LightningCLI's args parameter.*",  # a command passes its own arguments on
    r".*exists and is not empty.*",  # a resumed run goes on in its own folder
    r".*treespec.*",
    r".*module\(s\) in eval mode at the start of training.*",  # frozen batch normalisation is held there
    r".*The `srun` command is available on your system but is not used.*",  # on a cluster the search places its trials
    r".*Using `DistributedSampler` with the dataloaders.*",  # ours does not fill up test cells
)


def run_command(body: Callable[[list[str]], int | None], argv: list[str] | None = None) -> int:
    """Run a command and turn what happens into an exit code.

    Args:
        body: the command; takes the arguments, may return an exit code of its own.
        argv: arguments without the program's name; by default those of the process.

    Returns:
        0, or the command's own code, when all was done, 2 after an error that a person can mend, 130 after an interruption.
        Other exceptions pass.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    shows_traceback = "--traceback" in arguments
    quieten()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, interrupt)
    try:
        packages, rest = take_option([argument for argument in arguments if argument != "--traceback"], OPTION)
        with trusting(packages):
            return body(rest) or 0
    except (UserError, MisconfigurationException) as error:
        if shows_traceback:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def interrupt(number: int, frame: FrameType | None) -> None:
    """Treat SIGTERM, which schedulers send, as Ctrl-C: Lightning alone would go on to the end of the epoch."""
    raise KeyboardInterrupt


def quieten() -> None:
    """Silence what libraries say that helps nobody here."""
    for name in ("lightning.pytorch.utilities.rank_zero", "alembic", "mlflow", "lightning.fabric.utilities.seed"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for pattern in NOISE:
        warnings.filterwarnings("ignore", message=pattern)


def take_option(argv: list[str], name: str) -> tuple[list[str], list[str]]:
    """Take an option with a value out of a list of arguments.

    Args:
        argv: the arguments.
        name: the option, e.g. ``--exp``; both ``--exp X`` and ``--exp=X`` are understood.

    Returns:
        The values in order, and the arguments that are left.

    Raises:
        UserError: the option stands at the end without a value.
    """
    values, rest = [], []
    arguments = iter(argv)
    for argument in arguments:
        if argument == name:
            value = next(arguments, None)
            if value is None:
                raise UserError(f"{name} needs a value")
            values.append(value)
        elif argument.startswith(f"{name}="):
            values.append(argument.removeprefix(f"{name}="))
        else:
            rest.append(argument)
    return values, rest
