"""Train an experiment, test it once, explain it and file the run."""

import sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile

from lightning import Callback
from lightning.pytorch.utilities import rank_zero_only

from bcc_lightning.callbacks.checkpoints import selection_callbacks
from bcc_lightning.callbacks.epoch_seeding import EpochSeeding
from bcc_lightning.callbacks.explanation import Explanation
from bcc_lightning.callbacks.figures import Figures
from bcc_lightning.callbacks.throughput import Throughput
from bcc_lightning.callbacks.trial_report import TrialReport
from bcc_lightning.cli import ExperimentCLI, configuration_arguments
from bcc_lightning.command import run_command, take_option
from bcc_lightning.console import print_result, print_unfinished
from bcc_lightning.cross_validation import cross_validate, cross_validation_plan, tracking_of
from bcc_lightning.datamodules.base import VALIDATION
from bcc_lightning.ensembling.members import refuse_disagreement
from bcc_lightning.ensembling.voting import vote
from bcc_lightning.errors import UserError
from bcc_lightning.modules.ensemble import Ensemble
from bcc_lightning.run_facts import describe, fill
from bcc_lightning.tracking.folder import RunFolder
from bcc_lightning.tracking.logger import RunLogger
from bcc_lightning.tracking.recording import ending, file_run
from bcc_lightning.tracking.resume import find_resumable, is_complete
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.starts import refuse_another_split
from bcc_lightning.tracking.store import Tracking
from bcc_lightning.tracking.summary import Stopwatch, Summary, read_summary
from bcc_lightning.tuning.channel import TrialChannel
from bcc_lightning.tuning.trial_run import open_trial_run, report_end, tag_end
from bcc_lightning.whole_file import write_json


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
    resumed, cli = configure(argv)
    if trial:
        cli.datamodule.test_on = []
    if target := cli.config["summary"]:
        refuse_unwritable(Path(target))
    cli.datamodule.prepare_data()
    cli.datamodule.setup("fit")
    refuse_disagreement(cli.members, cli.datamodule)
    refuse_another_split(cli.starts.values(), cli.datamodule.facts())
    if warning := cli.warning():
        print(f"warning: {warning}", file=sys.stderr)
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        for notice in cli.datamodule.notices():
            print(notice)
        return fit_recorded(cli, resumed, trial)
    train_or_vote(cli, None, resumed, None, [], Summary("", cli.experiment_name))
    return None


def configure(argv: list[str]) -> tuple[RunFolder | None, ExperimentCLI]:
    """Read the configuration.

    Returns:
        The folder of the run to go on with, None for a new one; and the configured experiment.
    """
    wanted, rest = take_option(argv, "--resume")
    experiments, flags = take_option(rest, "--exp")
    if not wanted:
        return None, ExperimentCLI(configuration_arguments(experiments, flags))
    resumed = find_resumable(tracking_of(flags).work, wanted[-1])
    return resumed, ExperimentCLI(["--config", str(resumed.config), *flags])


def refuse_unwritable(target: Path) -> None:
    """Find out before training whether a file can be written.

    Raises:
        UserError: it cannot.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise UserError(f"--summary {target} cannot be written ({error}); name another file") from error


def fit_recorded(cli: ExperimentCLI, resumed: RunFolder | None, trial: TrialChannel | None = None) -> Summary:
    """Train on the process that writes, and file the run however it ends.

    Args:
        cli: the configured experiment.
        resumed: folder of the run to go on with; None starts a new one.
        trial: channel to the search whose trial this is.

    Returns:
        The summary of the finished run.

    Raises:
        UserError: the run is complete, but not all of it could be filed.
    """
    run = open_run(cli, resumed)
    if resumed and is_complete(resumed):
        summary = read_summary(resumed.summary)
        waiting = close(cli, run, summary)
    else:
        summary = Summary(run.run_id, cli.experiment_name, tested_on=VALIDATION if trial else "test")
        waiting = train_recorded(cli, run, resumed, summary, trial)
    if waiting:
        raise UserError(waiting)
    if summary.status != "FINISHED":  # pruned
        return summary
    print_result(run, summary, cli.config_init["tracking"])
    run.folder.remove()
    return summary


def open_run(cli: ExperimentCLI, resumed: RunFolder | None) -> TrackedRun:
    """Start a run, or go on with one."""
    tracking: Tracking = cli.config_init["tracking"]
    if resumed:
        return TrackedRun.reopen(tracking, resumed.path.name)
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
                open_trial_run(trial, run)
            callbacks = [throughput, figures, Explanation(run.folder)]
            train_or_vote(cli, run.folder, resumed, logger, callbacks, summary, trial)
    finally:
        figures.draw_curves()
        fill(summary, cli, run, logger.history)
        summary.images_per_second = throughput.images_per_second
        waiting = close_trial(cli, run, summary, trial) if trial else close(cli, run, summary)
        if summary.status != "FINISHED":
            print_unfinished(run, summary, waiting)
    return waiting


def close_trial(cli: ExperimentCLI, run: TrackedRun, summary: Summary, trial: TrialChannel) -> str | None:
    """File the run of a trial and tell the search; it is not gone on with, so that nothing is kept for that."""
    tag_end(trial, run, summary)
    waiting = close(cli, run, summary)
    if waiting is None:
        run.folder.remove()
    report_end(trial, summary)
    return waiting


def close(cli: ExperimentCLI, run: TrackedRun, summary: Summary) -> str | None:
    """File a run and copy its summary out; returns what waits, or None."""
    waiting = file_run(run, summary)
    if target := cli.config["summary"]:
        write_json(Path(target), summary.as_dict())
    return waiting


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
    last = resumed.last_checkpoint if resumed else None
    watch = Stopwatch()
    trainer.fit(cli.model, cli.datamodule, ckpt_path=last if last and last.is_file() else None, weights_only=True)
    seconds["fit"] = watch.seconds
    if trial:
        trial.raise_if_pruned()
    chosen = getattr(trainer.checkpoint_callback, "best_model_path", "")
    if not chosen:
        raise UserError(
            "no epoch was finished, so there are no weights to test; raise --trainer.max_epochs or --trainer.max_time"
        )
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
