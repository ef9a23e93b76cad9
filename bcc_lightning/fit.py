"""Train an experiment, test it once, explain it and file the run."""

import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

from lightning import Callback
from lightning.pytorch.utilities import rank_zero_only

from bcc_lightning.callbacks.checkpoints import keep_test_time, selection_callbacks
from bcc_lightning.callbacks.epochs import EpochSeeding, Throughput
from bcc_lightning.callbacks.figures import Explanation, Figures
from bcc_lightning.cli.command import run_command, take_option
from bcc_lightning.cli.experiment import ExperimentCLI, configuration_arguments
from bcc_lightning.datamodules.base import VALIDATION
from bcc_lightning.engine.console import print_result, print_unfinished
from bcc_lightning.engine.cross_validation import cross_validate
from bcc_lightning.engine.fold_plan import cross_validation_plan, tracking_of
from bcc_lightning.engine.record import describe, fill
from bcc_lightning.engine.single_images import refuse_idle_training
from bcc_lightning.engine.voting import vote
from bcc_lightning.errors import UserError
from bcc_lightning.files import refuse_unwritable
from bcc_lightning.modules.checkpoint import read_checkpoint
from bcc_lightning.modules.ensemble import Ensemble
from bcc_lightning.printable import printable
from bcc_lightning.tracking.claim import Claim, claimed
from bcc_lightning.tracking.filing import ending, file_run
from bcc_lightning.tracking.logger import RunLogger
from bcc_lightning.tracking.recipe import Progress
from bcc_lightning.tracking.resume import find_resumable, is_complete, refuse_other_data, refuse_with_resume, resume_arguments
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.run_files import RunFolder, Stopwatch, Summary, read_summary
from bcc_lightning.tracking.store import Tracking
from bcc_lightning.tracking.trained_networks import refuse_another_split, refuse_disagreement
from bcc_lightning.tuning.channel import TrialChannel
from bcc_lightning.tuning.trial import TrialReport, open_trial_run, refuse_changed_data, report_end, tag_end


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
    plan = cross_validation_plan(argv)
    with TrialChannel.inherited() or nullcontext() as trial:
        if plan:
            cross_validate(plan, run_experiment, trial)
        else:
            run_experiment(argv, trial)


def run_experiment(argv: list[str], trial: TrialChannel | None = None) -> Summary | None:
    """Run one experiment from its arguments to its filed run.

    Args:
        argv: ``--exp NAME`` or ``--resume RUN_ID``, and flags.
        trial: channel to the search whose trial this is. A trial never reads the test part: its chosen weights are evaluated on
            the validation part.

    Returns:
        Its summary, on the process that writes.
    """
    wanted, rest = take_option(argv, "--resume")
    if not wanted:
        return run_configured(ExperimentCLI(configuration_arguments(*take_option(rest, "--exp"))), trial)
    folder = find_resumable(tracking_of(rest).work, wanted[-1])
    with claimed(folder) as claim:
        return run_configured(resume_configuration(folder, rest), trial, claim)


def run_configured(cli: ExperimentCLI, trial: TrialChannel | None = None, claim: Claim | None = None) -> Summary | None:
    """Run a configured experiment; arguments as `run_experiment`.

    Args:
        cli: the experiment, which knows whether it is a run to go on with.
        trial: channel to the search whose trial this is.
        claim: the right to train the run that is gone on with.
    """
    resumed = cli.resumed
    if trial:
        cli.datamodule.test_on = []
    if target := cli.config["summary"]:
        refuse_unwritable("--summary", Path(target))
    if cli.progress.is_complete:
        return send_complete(cli, claim) if claim else None
    cli.datamodule.prepare_data()
    cli.datamodule.setup("fit")
    refuse_idle_training(cli)
    if resumed:
        refuse_other_data(resumed.path.name, resumed.data_record, resumed.split, cli.datamodule)
    if trial:
        refuse_changed_data(trial, cli.datamodule.facts())
    refuse_disagreement(cli.members, cli.datamodule)
    refuse_another_split(cli.starts.values(), cli.datamodule.facts(), cli.datamodule.identity())
    if warning := cli.warning():
        print(printable(f"warning: {warning}"), file=sys.stderr)
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        for notice in cli.datamodule.notices():
            print(printable(notice))
        return fit_recorded(cli, claim, trial)
    train_or_vote(cli, None, resumed, None, [], Summary("", cli.experiment_name))
    return None


def resume_configuration(folder: RunFolder, flags: list[str]) -> ExperimentCLI:
    """Read the configuration of a run to go on with, and check the flags before anything is loaded.

    Args:
        folder: the run's folder. What its configuration says of its place is not asked: it may have moved.
        flags: the other arguments.

    Raises:
        UserError: a flag cannot take effect, or would give the run a second recipe.
    """
    refuse_with_resume(flags)
    if folder.last_checkpoint.is_file():
        read_checkpoint(folder.last_checkpoint)  # what is wrong with it shows before the run is opened
    progress = Progress.of([folder.last_checkpoint], is_complete=is_complete(folder))
    return ExperimentCLI(resume_arguments(folder, flags), folder, progress)


def send_complete(cli: ExperimentCLI, claim: Claim) -> Summary:
    """Send a run that did all its work and only waits for the tracking server.

    Raises:
        UserError: the server could not be reached again.
    """
    with TrackedRun.reopen(cli.config_init["tracking"], claim.folder.path.name, claim) as run:
        summary = read_summary(run.folder.summary)
        return finish(cli, run, summary, close(cli, run, summary))


def fit_recorded(cli: ExperimentCLI, claim: Claim | None, trial: TrialChannel | None = None) -> Summary:
    """Train on the process that writes, and file the run however it ends.

    Args:
        cli: the configured experiment.
        claim: the right to train the run to go on with; None starts a new one.
        trial: channel to the search whose trial this is.

    Returns:
        The summary of the finished run.

    Raises:
        UserError: the run is complete, but not all of it could be filed.
    """
    with open_run(cli, claim) as run:
        summary = Summary(run.run_id, cli.experiment_name, tested_on=VALIDATION if trial else "test")
        return finish(cli, run, summary, train_recorded(cli, run, cli.resumed, summary, trial))


def finish(cli: ExperimentCLI, run: TrackedRun, summary: Summary, waiting: str | None) -> Summary:
    """Print the figures of a finished run and delete its folder.

    Raises:
        UserError: not all of it could be filed.
    """
    if waiting:
        raise UserError(waiting)
    if summary.status == "FINISHED":  # else pruned
        print_result(run, summary, cli.config_init["tracking"])
        run.folder.remove()
    return summary


def open_run(cli: ExperimentCLI, claim: Claim | None) -> TrackedRun:
    """Start a run, or go on with one."""
    tracking: Tracking = cli.config_init["tracking"]
    if claim:
        return TrackedRun.reopen(tracking, claim.folder.path.name, claim)
    name = tracking.run_name or f"{cli.experiment_name}-seed{cli.config['seed_everything']}"
    return TrackedRun.create(tracking, name, {"experiment": cli.experiment_name})


def train_recorded(
    cli: ExperimentCLI, run: TrackedRun, resumed: RunFolder | None, summary: Summary, trial: TrialChannel | None = None
) -> str | None:
    """Train, test, explain and file a run; where it ends early, file what there is.

    Args:
        cli: the configured experiment.
        run: where it is recorded.
        resumed: folder of the run to go on with.
        summary: is filled in.
        trial: channel to the search whose trial this is.

    Returns:
        None when all has been filed, else a sentence that says what waits where.
    """
    logger = RunLogger(run)
    figures, throughput = Figures(run.folder, logger.history), Throughput()
    waiting = None
    try:
        with ending(summary):
            describe(cli, run, summary)
            if trial:
                open_trial_run(trial, run, cli.datamodule.facts())
            callbacks = [throughput, figures, Explanation(run.folder)]
            train_or_vote(cli, run.folder, resumed, logger, callbacks, summary, trial)
    finally:
        summary.images_per_second = throughput.images_per_second
        steps = [lambda: fill(summary, cli, run, logger.history), figures.draw_curves]
        waiting = close_trial(cli, run, summary, trial, steps) if trial else close(cli, run, summary, steps)
        if summary.status != "FINISHED":
            print_unfinished(run, summary, waiting)
    return waiting


def close_trial(
    cli: ExperimentCLI, run: TrackedRun, summary: Summary, trial: TrialChannel, steps: list[Callable[[], None]]
) -> str | None:
    """File the run of a trial and tell the search; it is not gone on with, so that nothing is kept for that."""
    try:
        waiting = close(cli, run, summary, [*steps, lambda: tag_end(trial, run, summary)])
        if waiting is None:
            run.folder.remove()
        return waiting
    finally:
        report_end(trial, summary)


def close(cli: ExperimentCLI, run: TrackedRun, summary: Summary, steps: Sequence[Callable[[], None]] = ()) -> str | None:
    """File a run after the last `steps` and copy its summary out; returns what waits, or None."""
    return file_run(run, summary, *steps, copy=cli.config["summary"])


def train_or_vote(
    cli: ExperimentCLI,
    folder: RunFolder | None,
    resumed: RunFolder | None,
    logger: RunLogger | None,
    callbacks: list[Callback],
    summary: Summary,
    trial: TrialChannel | None = None,
) -> None:
    """Train and test an experiment; an ensemble is tested only. Arguments as `train`; the summary is filled in."""
    if isinstance(cli.model, Ensemble):
        summary.members = vote(cli, cli.model, folder, logger, summary.seconds)
    else:
        train(cli, folder, resumed, logger, callbacks, summary.seconds, trial)


def train(
    cli: ExperimentCLI,
    folder: RunFolder | None,
    resumed: RunFolder | None,
    logger: RunLogger | None,
    callbacks: list[Callback],
    seconds: dict[str, float],
    trial: TrialChannel | None = None,
) -> None:
    """Train, then test the chosen weights once.

    Args:
        cli: the configured experiment.
        folder: the run's folder; None on processes that do not write.
        resumed: folder of the run to go on with, on all processes; None starts anew.
        logger: where metrics go; None on processes that do not write.
        callbacks: further callbacks of the writing process.
        seconds: is filled in with the wall time of ``fit`` and ``test``.
        trial: channel to the search whose trial this is.

    Raises:
        Pruned: the search has seen enough.
    """
    seeding = EpochSeeding(cli.config["seed_everything"])
    always = [seeding, *cli.training_callbacks(), *selection_callbacks(folder, **asdict(cli.selection))]
    reports = [TrialReport(trial)] if trial and trial.greeting.by_epoch else []
    trainer = cli.build_trainer([*always, *callbacks, *reports], logger or False)
    last = resumed.last_checkpoint if resumed and resumed.last_checkpoint.is_file() else None
    if last:  # its epoch has ended; with a limit of steps Lightning would repeat it, without a single batch
        trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]
    watch = Stopwatch()
    trainer.fit(cli.model, cli.datamodule, ckpt_path=last, weights_only=True)
    seconds["fit"] = watch.seconds
    if trial:
        trial.raise_if_pruned()
    chosen = getattr(trainer.checkpoint_callback, "best_model_path", "")
    if not chosen:
        raise UserError(
            "no epoch was finished, so there are no weights to test; raise --trainer.max_epochs or --trainer.max_time"
        )
    if folder and resumed:
        keep_test_time(Path(chosen), cli.model)
    watch = Stopwatch()
    if trial:
        cli.model.tested_on = VALIDATION
        trainer.test(cli.model, cli.datamodule.val_dataloader(), ckpt_path=chosen, verbose=False, weights_only=True)
    else:
        trainer.test(cli.model, cli.datamodule, ckpt_path=chosen, verbose=False, weights_only=True)
    for name, cells in cli.datamodule.external.items():
        cli.model.tested_on = name
        trainer.test(cli.model, cli.datamodule.evaluation_loader(cells), verbose=False)
    seconds["test"] = watch.seconds


if __name__ == "__main__":
    sys.exit(main())
