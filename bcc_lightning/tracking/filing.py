"""How a run ends: finished, failed or interrupted, it is filed with a summary and a report."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bcc_lightning.errors import Pruned
from bcc_lightning.evaluation.metrics import metric_of
from bcc_lightning.files import write_json
from bcc_lightning.printable import markdown
from bcc_lightning.processes import interruption_held
from bcc_lightning.tracking.description import evaluated_sets
from bcc_lightning.tracking.landing_page import FURTHER, INTERVAL, PRETRAINED, SECONDS
from bcc_lightning.tracking.model_card import write_model_card
from bcc_lightning.tracking.report import write_report
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.run_files import Summary


def ending(error: BaseException | None) -> tuple[str, str | None]:
    """Return status and failure of a run.

    An interruption, which Lightning turns into `SystemExit`, ends it as ``KILLED``, and so does a search that has seen enough of
    a trial, which is not an error; any other exception ends it as ``FAILED`` with its message; else it is ``FINISHED``.
    """
    if error is None:
        return "FINISHED", None
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        return "KILLED", "interrupted"
    return ("KILLED", str(error)) if isinstance(error, Pruned) else ("FAILED", described(error))


def file_run(run: TrackedRun, summary: Summary, *steps: Callable[[], None], copy: str | None = None) -> str | None:
    """Write summary, report and model card, send everything and end the run.

    Every step is tried, whatever became of the one before: on a full disk the run still ends, and what had been written whole is
    filed. A run whose training was finished, but not its filing, is ``FAILED`` with that reason.

    Args:
        run: the run.
        summary: its figures; status and failure are filled in where a step fails.
        *steps: what is to be done first, such as filling in the figures.
        copy: file that gets a copy of the summary; None for none.

    Returns:
        None when all has arrived, else a sentence that says what waits where. After a training that failed, also what could not
        be filed: the error of the training is the one that counts.

    Raises:
        Exception: the first error of a step, where the training itself was finished.
    """
    with interruption_held(drop=True):
        was_finished = summary.status == "FINISHED"
        errors: list[Exception] = []
        steps += (
            lambda: write_report(run.folder, summary),
            lambda: write_model_card(run.folder, summary),
            lambda: write_json(run.folder.summary, summary.as_dict()),
            lambda: tag(run, summary),
            lambda: tag(run, summary) if errors else None,  # a step has failed, perhaps that of the tags
        )
        for step in steps:
            try:
                step()
            except Exception as error:  # the run has to end whatever it is; the first one is raised below
                errors.append(error)
                if summary.status == "FINISHED":
                    summary.status, summary.failure = "FAILED", described(error)
        waiting = run.close(summary.status)
        if copy is not None:
            try:
                write_json(Path(copy), run.copy_of(summary))
            except OSError as error:
                waiting = waiting or f"--summary {copy} could not be written ({error}); the run itself has been filed"
    if errors and was_finished:
        raise errors[0]
    if errors and waiting is None:
        return f"Not all of it could be filed: {described(errors[0])}"
    return waiting


def end_failed(run: TrackedRun, error: BaseException) -> None:
    """End a run that has no figures of its own yet, such as that of a search, with the error that ended it."""
    interrupted = isinstance(error, (KeyboardInterrupt, SystemExit))
    with interruption_held(drop=True):
        with suppress(OSError):  # a full disk; the status says it all the same
            run.set_tags({"failure": "interrupted" if interrupted else described(error)})
        run.close("KILLED" if interrupted else "FAILED")


def tag(run: TrackedRun, summary: Summary) -> None:
    """Tag a run with its card, with why it failed, and with what the columns of the landing page show."""
    tags = {"failure": summary.failure or "", "warning.collapse": " ".join(summary.warnings), **columns(summary)}
    run.set_tags({"mlflow.note.content": card(summary), **{name: text for name, text in tags.items() if text}})
    if "total" in summary.seconds:
        run.log_metrics({SECONDS: round(summary.seconds["total"], 1)}, 0)


def columns(summary: Summary) -> dict[str, str]:
    """Return the tags that are columns of the landing page; empty where there is nothing to show."""
    found = summary.intervals.get(accuracy_of(summary))
    interval = "{:.4f} to {:.4f}".format(*found) if found else ""
    if summary.folds:
        interval = f"± {summary.metrics[f'{summary.accuracy_of_folds}_sd']:.4f} of {len(summary.folds)} folds"
    return {
        INTERVAL: interval,
        FURTHER: balanced_elsewhere(summary),
        PRETRAINED: ", ".join(started_from(summary)) if summary.weights else "",
    }


def started_from(summary: Summary) -> list[str]:
    """List the origins of the weights that training started from, without their hashes; ``no`` for random ones."""
    origins = [origin.partition(", sha256")[0] for origin in summary.weights.values()]
    return list(dict.fromkeys("no" if origin == "random" else origin for origin in origins))


def balanced_elsewhere(summary: Summary) -> str:
    """Format the balanced accuracy on each further set."""
    further = (one for one in evaluated_sets(summary) if one.name != summary.tested_on)
    return ", ".join(f"{one.name} {one.metrics['recall_macro']:.4f}" for one in further)


def described(error: BaseException) -> str:
    """Describe an error in one line: its kind and its message."""
    return f"{type(error).__name__}: {error}"


def headline(summary: Summary) -> str:
    """Sum up a run in one line of Markdown."""
    return " ".join([outcome(summary), *(f"Warning: {warning}" for warning in summary.warnings)])


def outcome(summary: Summary) -> str:
    """Say in one line of Markdown what came of a run."""
    if summary.status != "FINISHED":
        return f"{summary.status}: {markdown(summary.failure or '')}"
    if summary.folds:
        return f"{mean_and_deviation(summary)}, {len(summary.folds)} folds, on {summary.data['data.name']}"
    metric = accuracy_of(summary)
    low, high = summary.intervals[metric]
    return (
        f"{summary.tested_on} accuracy {summary.metrics[metric]:.4f} (95 % interval {low:.4f} to {high:.4f}; "
        f"{most_frequent(summary)}) on {summary.data['data.name']}, {summary.data['data.resolution']}"
    )


def card(summary: Summary) -> str:
    """Describe a run in a few lines of Markdown, which the UI shows as its description."""
    facts = {
        "Balanced accuracy on further sets": balanced_elsewhere(summary),
        "Cells": summary.data.get("data.cells", ""),
        "Pixels": summary.data.get("data.resolution", ""),
        "Network": f"{summary.parameters:,} parameters, {summary.trained or 0:,} trained" if summary.parameters else "",
        "Started from": ", ".join("random weights" if origin == "no" else origin for origin in started_from(summary)),
        "Weights": f"of epoch {summary.best_epoch}" if summary.best_epoch is not None else "",
        "Time": ", ".join(f"{part} {seconds:.0f} s" for part, seconds in summary.seconds.items()),
    }
    lines = [f"- {name}: {markdown(text)}" for name, text in facts.items() if text]
    warnings = [f"- **Warning**: {markdown(warning)}" for warning in summary.warnings]
    return "\n".join([f"**{summary.experiment}**: {outcome(summary)}", "", *lines, *warnings])


def accuracy_of(summary: Summary) -> str:
    """Name the metric that is the accuracy of the chosen weights."""
    return metric_of(summary.tested_on, "accuracy")


def most_frequent(summary: Summary) -> str:
    """Format the accuracy of always answering the most frequent class, which every accuracy is compared with."""
    metric = summary.accuracy_of_folds if summary.folds else accuracy_of(summary)
    return f"most frequent class: {summary.metrics[metric.replace('accuracy', 'most_frequent')]:.4f}"


def mean_and_deviation(summary: Summary) -> str:
    """Format mean and standard deviation of the accuracy over the folds."""
    metric = summary.accuracy_of_folds
    figure = f"{summary.metrics[metric]:.4f} ± {summary.metrics[f'{metric}_sd']:.4f}"
    return f"{metric.replace('/', ' ')} {figure} ({most_frequent(summary)})"
