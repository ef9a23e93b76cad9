"""Train an experiment, test it once, explain it and file the run."""

import os
import sys
from contextlib import nullcontext

from bcc_lightning.cli.arguments import Call
from bcc_lightning.cli.command import run_command
from bcc_lightning.cli.early import refuse_missing_data, refuse_misspelt
from bcc_lightning.cli.help import help_text
from bcc_lightning.steps import hushed, step
from bcc_lightning.tuning.channel import VARIABLE, TrialChannel
from bcc_lightning.verb import Verb


def main(argv: list[str] | None = None) -> int:
    """Run ``python -m bcc_lightning.fit``.

    Args:
        argv: arguments without the program's name; by default those of the process.

    Returns:
        Exit code: 0 only when the run was trained, tested, explained and filed.
    """
    return run_command(fit, argv)


def fit(argv: list[str]) -> None:
    """Train an experiment or go on with one.

    Args:
        argv: ``--exp NAME`` or ``--resume RUN_ID``, and flags.

    Raises:
        UserError: something in the arguments, the data or the surroundings has to be mended.
    """
    if {"--help", "-h"} & set(argv):
        print(help_text(argv))
        return
    refuse_misspelt(argv)
    call = Call.read(argv)
    if call.resume is None:
        call.refuse_no_experiment()
        refuse_missing_data(argv)
    is_trial, prints_config = VARIABLE in os.environ, any(argument.startswith("--print_config") for argument in argv)
    with hushed(is_trial or prints_config):
        train(call, is_trial)


def train(call: Call, is_trial: bool) -> None:
    """Train what a call asks for, once it is known not to be misspelt; raises as `fit`."""
    with step("loading PyTorch, Lightning, timm and MLflow"):
        from bcc_lightning.engine.cross_validation import cross_validate
        from bcc_lightning.engine.fold_plan import CrossValidation
        from bcc_lightning.engine.run import run_experiment
    with TrialChannel.inherited() if is_trial else nullcontext() as trial:
        plan = CrossValidation.of(call) if call.folds or call.resume else None
        if plan:
            cross_validate(plan, trial)
        else:
            run_experiment(call, trial)


sys.modules[__name__].__class__ = Verb

if __name__ == "__main__":
    sys.exit(main())
