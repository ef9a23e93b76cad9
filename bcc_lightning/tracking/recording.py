"""How a run ends: finished, failed or interrupted, it says so and files what it has."""

from collections.abc import Iterator
from contextlib import contextmanager

from bcc_lightning.errors import Pruned
from bcc_lightning.interruption import interruption_held
from bcc_lightning.printable import markdown
from bcc_lightning.tracking.report import write_report
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.summary import Stopwatch, Summary
from bcc_lightning.whole_file import write_json


@contextmanager
def ending(summary: Summary) -> Iterator[None]:
    """Record how a run ends.

    An interruption, which Lightning turns into `SystemExit`, ends it as ``KILLED``, and so does a search that has seen enough of
    a trial, which is no error; any other exception ends it as ``FAILED`` with its message; else it is ``FINISHED``.

    Args:
        summary: is filled in with status, failure and seconds.

    Raises:
        KeyboardInterrupt: the run was interrupted.
    """
    watch = Stopwatch()
    try:
        yield
        summary.status = "FINISHED"
    except (KeyboardInterrupt, SystemExit) as interruption:
        summary.status, summary.failure = "KILLED", "interrupted"
        raise KeyboardInterrupt from interruption
    except Pruned as pruned:
        summary.status, summary.failure = "KILLED", str(pruned)
    except BaseException as error:
        summary.status, summary.failure = "FAILED", f"{type(error).__name__}: {error}"
        raise
    finally:
        summary.seconds["total"] = watch.seconds


def file_run(run: TrackedRun, summary: Summary) -> str | None:
    """Write summary and report, send everything and end the run.

    Returns:
        None when all has arrived, else a sentence that says what waits where.
    """
    with interruption_held(drop=True):
        tags = {"failure": summary.failure or "", "warning.collapse": " ".join(summary.warnings)}
        run.set_tags({"mlflow.note.content": headline(summary), **{name: text for name, text in tags.items() if text}})
        write_json(run.folder.summary, summary.as_dict())
        write_report(run.folder, summary)
        return run.close(summary.status)


def headline(summary: Summary) -> str:
    """Sum up a run in one line of Markdown, which the UI shows as its description."""
    if summary.status != "FINISHED":
        return f"{summary.status}: {markdown(summary.failure or '')}"
    if summary.folds:
        found = f"{mean_and_deviation(summary)}, {len(summary.folds)} folds, on {summary.data['data.name']}"
    else:
        metric = accuracy_of(summary)
        low, high = summary.intervals[metric]
        found = (
            f"{summary.tested_on} accuracy {summary.metrics[metric]:.4f} (95 % interval {low:.4f} to {high:.4f}; "
            f"{most_frequent(summary)}) on {summary.data['data.name']}, {summary.data['data.resolution']}"
        )
    return " ".join([found, *(f"Warning: {warning}" for warning in summary.warnings)])


def accuracy_of(summary: Summary) -> str:
    """Name the metric that is the accuracy of the chosen weights."""
    return "test/accuracy" if summary.tested_on == "test" else f"test_on/{summary.tested_on}/accuracy"


def most_frequent(summary: Summary) -> str:
    """Format the accuracy of always answering the most frequent class, which every accuracy is compared with."""
    metric = summary.accuracy_of_folds if summary.folds else accuracy_of(summary)
    return f"most frequent class: {summary.metrics[metric.replace('accuracy', 'most_frequent')]:.4f}"


def mean_and_deviation(summary: Summary) -> str:
    """Format mean and standard deviation of the accuracy over the folds."""
    metric = summary.accuracy_of_folds
    figure = f"{summary.metrics[metric]:.4f} ± {summary.metrics[f'{metric}_sd']:.4f}"
    return f"{metric.replace('/', ' ')} {figure} ({most_frequent(summary)})"
