"""A search of hyper-parameters, from its plan to its best parameters, which are written and confirmed."""

import math
import signal
from itertools import chain, count
from pathlib import Path
from typing import Any

from bcc_lightning.cli.command import EXIT_INTERRUPTED
from bcc_lightning.cli.experiment import ExperimentCLI
from bcc_lightning.cli.experiment_files import find_space
from bcc_lightning.engine.console import launcher, ui_command
from bcc_lightning.errors import UserError
from bcc_lightning.files import read_mapping, refuse_unwritable
from bcc_lightning.tracking.filing import end_failed
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.tracking.store import without_password
from bcc_lightning.trust import trust_flags
from bcc_lightning.tuning.confirmation import confirm
from bcc_lightning.tuning.driver import Watch
from bcc_lightning.tuning.executors import make_executor
from bcc_lightning.tuning.executors.base import Assignment, Executor
from bcc_lightning.tuning.executors.local import Seats
from bcc_lightning.tuning.options import Options, read_metrics
from bcc_lightning.tuning.parent_run import ChildTags, leave_parent_run, open_parent_run
from bcc_lightning.tuning.plan import Plan
from bcc_lightning.tuning.progress import Standing, best_trials
from bcc_lightning.tuning.report import headline, write_up
from bcc_lightning.tuning.searched_experiment import build_untrained, check_space, own_values, value_of, write_tuned
from bcc_lightning.tuning.space import Space, extremes, read_space
from bcc_lightning.tuning.storage import Storage, refuse_password, storage_of
from bcc_lightning.tuning.study import OpenStudy

SCHEDULE = "model.schedule"
"""Name of the learning-rate schedule among the parameters."""


def search(options: Options, flags: list[str], tracking: Tracking) -> int:
    """Start a search, or continue one.

    Args:
        options: options of the command.
        flags: flags of the experiment.
        tracking: where runs are filed.

    Returns:
        Exit code; 0 only when all trials have ended and the search is stored in MLflow, or when it was detached.

    Raises:
        UserError: the arguments, the space or the storage must be corrected, or a package or server is missing.
    """
    refuse_password("--tracking.uri", tracking.uri or "", "MLFLOW_TRACKING_URI, whole, or MLFLOW_TRACKING_PASSWORD")
    cli = build_untrained(options.exp, flags)
    plan = make_plan(options, flags, cli, tracking)
    refuse_unwritable("--out", file_of_parameters(options, plan, tracking))
    storage = storage_of(options.storage, tracking.home)
    seats = seats_of(options)
    assignment = assign(storage, tracking, plan, seats, cli)
    executor = make_executor(options.executor, assignment, seats, options.slurm, options.ray)
    if options.detach and not executor.outlives_this_process:
        raise UserError("--detach needs workers that outlive this process: --executor local, slurm or ray")
    opened = OpenStudy.create(storage, plan)
    with open_parent_run(tracking, opened) as run:
        print(f"study {plan.study} is stored in {storage.url}; watch it with: {storage.dashboard()}")
        print(f"compare its trials with: {ui_command(run, tracking)}")
        return conduct(options, flags, opened, run, executor, seats.count)


def conduct(options: Options, flags: list[str], search: OpenStudy, run: TrackedRun, executor: Executor, seats: int) -> int:
    """Run a search until it is done and stored in MLflow, or until it is interrupted.

    Returns:
        Exit code.

    Raises:
        UserError: workers fail, no trial has a value, or the results could not be stored completely.
    """
    try:
        watch_over(search, run, executor, seats, options)
        if options.detach:
            return 0
        finish(options, flags, search, run)
    except KeyboardInterrupt:
        return interrupted(search, run, executor)
    except BaseException as error:
        executor.stop()
        end_failed(run, error)
        raise
    if waiting := run.close("FINISHED"):
        raise UserError(waiting)
    print(f"figures and the table of trials: {run.artifact_uri}")
    run.folder.remove()
    return 0


def make_plan(options: Options, flags: list[str], cli: ExperimentCLI, tracking: Tracking) -> Plan:
    """Build the plan of a search, and check that the experiment accepts the space.

    Raises:
        UserError: the space or the metrics cannot be searched.
    """
    metrics, directions = read_metrics(options, cli.selection.monitor)
    file = find_space(options.space, cli.experiment_name)
    content = read_mapping(file, "what is searched, see docs/tune.md")
    space = read_space(content, str(file))
    check_space(space, str(file), options.exp, flags)
    config = cli.resolved_config()
    own, remarks = own_values(space, config)
    for remark in remarks:
        print(f"note: {remark}")
    study = options.study or cli.experiment_name
    epochs = config["trainer"]["max_epochs"]
    return Plan(
        study=study,
        experiment=cli.experiment_name,
        argv=[*(part for name in options.exp for part in ("--exp", name)), *flags],
        space=content,
        metrics=metrics,
        directions=directions,
        trials=options.trials,
        sampler=options.sampler,
        pruner=options.pruner or default_pruner(metrics, options.folds, schedules(space, config)),
        seed=options.seed,
        epochs=epochs if epochs > 0 else 100,
        folds=options.folds or 0,
        batch_size=cli.datamodule.batch_size,
        accumulate=config["trainer"]["accumulate_grad_batches"],
        own=own,
        logs=str(tracking.home / "studies" / study.replace("/", "_")),
    )


def file_of_parameters(options: Options, plan: Plan, tracking: Tracking) -> Path:
    """Return the path of the experiment file for the best parameters; without ``--out``, one that does not exist yet."""
    if options.out:
        return Path(options.out)
    file = tracking.home / "tuned" / f"{plan.experiment.replace('/', '_')}_tuned.yaml"
    numbered = (file.with_stem(f"{file.stem}-{number}") for number in count(2))
    return next(one for one in chain([file], numbered) if not (one.exists() or one_of_several(one, 0).exists()))


def one_of_several(file: Path, place: int) -> Path:
    """Return the path for one of the best trials of a search with two metrics, by its place."""
    return file.with_stem(f"{file.stem}_{place + 1}")


def schedules(space: Space, config: dict[str, Any]) -> set[object]:
    """Return the learning-rate schedules that trials may have."""
    entries = [group.entries[SCHEDULE] for group in space.groups if SCHEDULE in group.entries]
    choices: set[object] = set(chain.from_iterable(map(extremes, entries)))
    return choices or {value_of(config, SCHEDULE)}


def default_pruner(metrics: list[str], folds: int | None, schedules: set[object]) -> str:
    """Choose the pruner for a search without --pruner.

    Args:
        metrics: metrics to optimise.
        folds: number of folds of each trial; None for a single training.
        schedules: learning-rate schedules that trials may have.
    """
    if len(metrics) > 1:
        return "none"
    if folds is None and "one_cycle" in schedules:
        print(
            "note: no trial is stopped early, since one_cycle is at its worst in the middle; --pruner median stops trials anyway"
        )
        return "none"
    return "median"


def seats_of(options: Options) -> Seats:
    """Divide this machine among the workers; on a cluster, its scheduler divides the resources."""
    import torch

    if cores := {"slurm": options.slurm.cpus, "ray": options.ray.cpus}.get(options.executor):
        return Seats(options.workers or 1, [], cores)
    return Seats.of_this_machine(options.workers, torch.cuda.device_count())


def assign(storage: Storage, tracking: Tracking, plan: Plan, seats: Seats, cli: ExperimentCLI) -> Assignment:
    """Collect what each worker needs to know."""
    own = [] if cli.config["data"]["init_args"]["num_workers"] is not None else seats.flags(cli.datamodule.num_workers)
    uri = str(without_password(tracking.resolved_uri))
    return Assignment(storage, plan.study, Path(plan.logs), uri, [[*own, *trust_flags()]], plan.program)


def watch_over(search: OpenStudy, run: TrackedRun, executor: Executor, seats: int, options: Options) -> None:
    """Start the workers, and supervise them until no slot is free; with --detach, only start them."""
    limit, tags = options.timeout or math.inf, ChildTags(run)
    if options.detach:
        Watch(search, executor, seats, limit).place_all()
        leave_parent_run(run)
        print("workers go on without this process; the same command without --detach shows the progress and completes the search")
        return
    with Standing(search.study, search.plan, limit) as standing:
        watch = Watch(search, executor, seats, limit, standing.show)
        watch.until_done()
    tags.update(search.trials())


def interrupted(search: OpenStudy, run: TrackedRun, executor: Executor) -> int:
    """Stop the trials cleanly, so that the same command can continue the search.

    Returns:
        Exit code of an interrupted command.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends at once, and trials then exit by themselves
    print("\nstopping the running trials; press Ctrl-C again to exit at once")
    executor.stop()
    ChildTags(run).update(search.trials())
    run.close("KILLED")
    print(f"{headline(search)}\nthe search was stopped; run the same command again to continue it")
    return EXIT_INTERRUPTED


def finish(options: Options, flags: list[str], search: OpenStudy, run: TrackedRun) -> None:
    """Draw figures, write and print the best parameters, and confirm them if --confirm is given.

    Raises:
        UserError: no trial has a value, or a confirmation failed.
    """
    write_up(search, run)
    best = best_trials(search.study)
    print(headline(search))
    if not best:
        raise UserError(f"no trial has a value; their output is in {search.plan.logs}")
    out = file_of_parameters(options, search.plan, run.tracking)
    for place, trial in enumerate(best):
        file = out if len(best) == 1 else one_of_several(out, place)
        write_tuned(search.plan, trial, options.exp, flags, file)
        write_tuned(search.plan, trial, options.exp, flags, run.folder.artifacts / file.name)
        print(
            f"parameters of trial {trial.number}: {file}; train them with: {launcher()}python -m bcc_lightning.fit --exp {file}"
        )
        if options.confirm:
            result = confirm(search, trial, file, flags, options.confirm, run)
            print(f"confirmed: {result}")
