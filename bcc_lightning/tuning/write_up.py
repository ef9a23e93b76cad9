"""What a search leaves behind: figures, the table of its trials, and one line that sums it up."""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tuning.standing import Counts, best_trials, word_trial
from bcc_lightning.tuning.study import OpenStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from optuna.trial import FrozenTrial

FEWEST = 2
"""Complete trials that a figure needs."""


def write_up(search: OpenStudy, run: TrackedRun) -> list[Path]:
    """Write figures and table into the folder of a study's run, and tag the run with the outcome.

    Returns:
        The files.
    """
    trials = search.trials()
    best = best_trials(trials, search.plan)
    for place, metric in enumerate(search.plan.metrics if best else []):
        run.log_metrics({f"best/{metric}": best[0].values[place]}, len(trials))
    counts = Counts.of(trials, search.plan.trials)
    run.log_metrics(
        {"trials/complete": counts.complete, "trials/pruned": counts.pruned, "trials/failed": counts.failed}, len(trials)
    )
    run.set_tags({"mlflow.note.content": headline(search)})
    table = run.folder.artifacts / "trials.csv"
    search.study.trials_dataframe().to_csv(table, index=False)
    return [table, *(draw_figures(search, run) if counts.complete >= FEWEST else [])]


def headline(search: OpenStudy) -> str:
    """Sum a search up in one line."""
    trials = search.trials()
    best = best_trials(trials, search.plan)
    found = "; ".join(f"best: {word_trial(trial, search.plan)}" for trial in best) or "no trial has a value"
    return f"{Counts.of(trials, search.plan.trials)}; {found}"


def draw_figures(search: OpenStudy, run: TrackedRun) -> list[Path]:
    """Draw importance, history and parallel coordinates for each metric, and the front of two."""
    from optuna.visualization import matplotlib as plots

    plan, study = search.plan, search.study
    several = len(plan.metrics) > 1
    files = []
    for place, metric in enumerate(plan.metrics):
        target = partial(value_of, place=place) if several else None
        name = f"_{metric.replace('/', '_')}" if several else ""
        for figure, draw in (
            ("history", plots.plot_optimization_history),
            ("parallel_coordinates", plots.plot_parallel_coordinate),
            ("importance", plots.plot_param_importances),
        ):
            file = run.folder.figure(f"{figure}{name}")
            if save(partial(draw, study, target=target, target_name=metric), file):
                files.append(file)
    front = run.folder.figure("pareto_front")
    if several and save(partial(plots.plot_pareto_front, study, target_names=list(plan.metrics)), front):
        files.append(front)
    return files


def value_of(trial: "FrozenTrial", place: int) -> float:
    """Give one of a trial's values."""
    return float(trial.values[place])


def save(draw: Callable[[], Any], file: Path) -> bool:
    """Draw a figure and save it; False where there is too little to draw: Optuna says so by an error of no type of its own."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    file.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the figures count as experimental
        try:
            draw()
        except (ValueError, RuntimeError) as error:
            print(f"no figure {file.stem}: {error}")
            plt.close("all")
            return False
    figure: Figure = plt.gcf()
    figure.set_size_inches(11, 6)
    figure.savefig(file, dpi=110, bbox_inches="tight")
    plt.close("all")
    return True
