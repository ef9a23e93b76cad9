"""Search the hyper-parameters of an experiment, on this machine or on a cluster."""

import sys

from bcc_lightning.cli.arguments import Call, tracking_of
from bcc_lightning.cli.command import run_command
from bcc_lightning.cli.early import refuse_misspelt
from bcc_lightning.cli.experiment_files import find_space
from bcc_lightning.errors import UserError
from bcc_lightning.tuning.options import read_options


def main(argv: list[str] | None = None) -> int:
    """Run ``python -m bcc_lightning.tune``.

    Args:
        argv: arguments without the program's name; by default those of the process.

    Returns:
        Exit code; 0 only when all trials have ended and the search is stored in MLflow, or when it was detached.
    """
    return run_command(tune, argv)


def tune(argv: list[str]) -> int:
    """Start a search, or continue one.

    Args:
        argv: arguments without the program's name.

    Returns:
        Exit code.

    Raises:
        UserError: the arguments, the space or the storage must be corrected, or a package or server is missing.
    """
    options, flags = read_options(argv)
    refuse_misspelt([*(f"--exp={name}" for name in options.exp), *flags])
    Call(exp=options.exp, flags=flags).refuse_no_experiment()
    find_space(options.space, "")
    tracking = tracking_of(flags)
    if tracking.register and not options.confirm:
        raise UserError(
            f"--tracking.register {tracking.register} registers what --confirm SEEDS trains: a trial is not tested. "
            "Next step: add --confirm 1, or leave --tracking.register out"
        )
    # Only now what takes seconds to load.
    from bcc_lightning.engine.searching import search

    return search(options, flags, tracking)


if __name__ == "__main__":
    sys.exit(main())
