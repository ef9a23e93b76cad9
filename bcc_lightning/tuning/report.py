"""The report of a search: one page with its figures, a table of its trials, and a summary in one line."""

from pathlib import Path
from typing import TYPE_CHECKING

from bcc_lightning.pages.rendering import data_uri, write_html
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tuning.figures import TITLES, draw_figures
from bcc_lightning.tuning.progress import Counts, best_trials, describe_trial
from bcc_lightning.tuning.study import MOST_FREQUENT, OpenStudy

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FEWEST = 2
"""Smallest number of complete trials for which figures are drawn."""

SHOWN = 20
"""Best trials that the page lists; ``trials.csv`` has all."""


def write_up(search: OpenStudy, run: TrackedRun) -> list[Path]:
    """Write figures and table into the folder of a study's run, and log the outcome.

    Returns:
        The files that were written.
    """
    trials = search.trials()
    best = best_trials(search.study)
    for place, (metric, direction) in enumerate(zip(search.plan.metrics, search.plan.directions, strict=True) if best else []):
        choose = max if direction == "maximize" else min
        run.log_metrics({f"best/{metric}": choose(trial.values[place] for trial in best)}, len(trials))
    counts = Counts.of(trials, search.plan.trials)
    run.log_metrics(
        {"trials/complete": counts.complete, "trials/pruned": counts.pruned, "trials/failed": counts.failed}, len(trials)
    )
    run.set_tags({"mlflow.note.content": headline(search)})
    table = run.folder.artifacts / "trials.csv"
    search.study.trials_dataframe().to_csv(table, index=False)
    drawn = draw_figures(search, run) if counts.complete >= FEWEST else []
    write_report(search, run.folder.report, drawn)
    return [table, *drawn, run.folder.report]


def write_report(search: OpenStudy, target: Path, drawn: list[Path]) -> None:
    """Write the page of a search.

    Args:
        search: the search.
        target: the HTML file.
        drawn: its figures.
    """
    plan = search.plan
    write_html(
        target,
        "bcc_lightning.tuning",
        "report.html.jinja",
        plan=plan,
        counts=Counts.of(search.trials(), plan.trials),
        best=best_trials(search.study),
        values=values_of,
        most_frequent=MOST_FREQUENT,
        table=trials_table(search),
        space=plan.search_space.describe(),
        figures=[(title_of(file.stem), data_uri(file)) for file in drawn],
    )


def title_of(figure: str) -> str:
    """Return the heading of a figure; of several metrics it ends in the metric."""
    name = next(name for name in TITLES if figure.startswith(name))
    metric = figure.removeprefix(name).strip("_")
    return f"{TITLES[name]}{f': {metric}' if metric else ''}"


def values_of(trial: "FrozenTrial") -> list[tuple[str, str]]:
    """Format the parameters of a trial: name and value."""
    return [(name, f"{value:.3g}" if isinstance(value, float) else str(value)) for name, value in trial.params.items()]


def trials_table(search: OpenStudy) -> tuple[list[str], list[list[str]]]:
    """Lay out the best complete trials: headings and rows."""
    from optuna.study import StudyDirection
    from optuna.trial import TrialState

    complete = [trial for trial in search.trials() if trial.state == TrialState.COMPLETE]
    largest_first = search.study.directions[0] == StudyDirection.MAXIMIZE
    shown = sorted(complete, key=lambda trial: trial.values[0], reverse=largest_first)[:SHOWN]
    names = list(dict.fromkeys(name for trial in shown for name in trial.params))
    rows = [
        [
            str(trial.number),
            *(f"{value:.4g}" for value in trial.values),
            *(dict(values_of(trial)).get(name, "–") for name in names),
        ]
        for trial in shown
    ]
    return ["trial", *search.plan.metrics, *names], rows


def headline(search: OpenStudy) -> str:
    """Summarise a search in one line."""
    trials = search.trials()
    best = best_trials(search.study)
    found = "; ".join(describe_trial(trial, search.plan) for trial in best)
    return f"{Counts.of(trials, search.plan.trials)}; {f'best: {found}' if best else 'no trial has a value'}"
