"""The progress of a search: on a terminal as a table that is kept up to date, elsewhere as a line for each finished trial."""

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from bcc_lightning.printable import plain, printable
from bcc_lightning.tuning.plan import Plan
from bcc_lightning.tuning.study import ENDING, MOST_FREQUENT, REASON, RETRY_OF, may_be_repeated

if TYPE_CHECKING:
    from types import TracebackType

    from optuna import Study
    from optuna.trial import FrozenTrial


SHOWN = 8
"""Largest number of best trials, and of running trials, in the table."""


@dataclass
class Counts:
    """Number of trials in each state; a trial and its retries count as one finished trial.

    Attributes:
        complete: trials with a value.
        pruned: trials that were stopped early.
        failed: trials that failed and are not repeated.
        repeated: trials that failed and were repeated, or will be.
        running: trials that run now.
        total: number of trials that are wanted.
    """

    complete: int = 0
    pruned: int = 0
    failed: int = 0
    repeated: int = 0
    running: int = 0
    total: int = 0

    @classmethod
    def of(cls, trials: "list[FrozenTrial]", total: int) -> "Counts":
        """Count the trials of a study."""
        from optuna.trial import TrialState

        repeated = {trial.user_attrs.get(RETRY_OF) for trial in trials}
        by_number = {trial.number: trial for trial in trials}
        counts = cls(total=total)
        for trial in trials:
            if trial.state == TrialState.FAIL:
                again = trial.number in repeated or may_be_repeated(trial, by_number)
                counts.repeated += again
                counts.failed += not again
            counts.complete += trial.state == TrialState.COMPLETE
            counts.pruned += trial.state == TrialState.PRUNED
            counts.running += trial.state == TrialState.RUNNING
        return counts

    @property
    def finished(self) -> int:
        """Number of trials that need no further work."""
        return self.complete + self.pruned + self.failed

    def __str__(self) -> str:
        """Format the counts in one line."""
        repeated = f", {self.repeated} repeated" if self.repeated else ""
        ended = f"{self.complete} complete, {self.pruned} pruned, {self.failed} failed{repeated}"
        return f"{self.finished} of {self.total} trials: {ended}; {self.running} running"


def best_trials(study: "Study") -> "list[FrozenTrial]":
    """Return the best complete trial; of two metrics, all trials of the Pareto front, the best in the first metric first.

    Args:
        study: the study; all its trials are read and copied, which takes about 50 ms for 1,000 trials.
    """
    from optuna.study import StudyDirection

    largest_first = study.directions[0] == StudyDirection.MAXIMIZE
    front = sorted(study.best_trials, key=lambda trial: trial.values[0], reverse=largest_first)
    return front if len(study.directions) > 1 else front[:1]


def describe_trial(trial: "FrozenTrial", plan: Plan) -> str:
    """Describe a complete trial by its values and parameters."""
    values = ", ".join(f"{metric} {value:.4f}" for metric, value in zip(plan.metrics, trial.values, strict=True))
    parameters = ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in trial.params.items()
    )
    return f"trial {trial.number}, {values}{beside_accuracy(trial, plan)} ({parameters})"


def beside_accuracy(trial: "FrozenTrial", plan: Plan) -> str:
    """Format the accuracy of always answering the most frequent class, where accuracy is optimised; empty otherwise."""
    share = trial.user_attrs.get(MOST_FREQUENT)
    return f" (most frequent class: {share:.4f})" if share is not None and "val/accuracy" in plan.metrics else ""


@dataclass
class Standing:
    """Shows the progress of a search.

    Attributes:
        study: the study in its storage.
        plan: the search.
        seconds: time limit of the search; infinite for none.
        console: terminal or file that it is shown on.
    """

    study: "Study"
    plan: Plan
    seconds: float
    console: Console = field(default_factory=Console)

    def __post_init__(self) -> None:
        self._best: tuple[int, list[FrozenTrial]] = (0, [])
        self._start = time.monotonic()
        self._progress_before: float | None = None
        self._told: set[tuple[int, str]] = set()
        self._live = Live(console=self.console, auto_refresh=False, transient=True) if self.console.is_terminal else None

    def __enter__(self) -> Self:
        """Start the table, if this is a terminal."""
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: "TracebackType | None") -> None:
        """Remove the table from the terminal."""
        if self._live:
            self._live.stop()

    def show(self, trials: "list[FrozenTrial]") -> None:
        """Show the current progress.

        Args:
            trials: all trials of the study, retries included.
        """
        counts = Counts.of(trials, self.plan.trials)
        left = self._time_left(self._progress(trials, counts), counts.total)
        if self._live:
            if counts.complete != self._best[0]:  # else the best are still the same, and reading them takes time
                self._best = counts.complete, best_trials(self.study)
            self._live.update(self._table(trials, f"{counts}; {left}"), refresh=True)
        else:
            self._print_news(trials, f"{counts}; {left}")

    def _table(self, trials: "list[FrozenTrial]", standing: str) -> Table:
        from optuna.trial import TrialState

        table = Table(title=plain(f"study {self.plan.study}: {standing}"), title_justify="left")
        for heading in ("trial", "epoch", self.plan.metrics[0], "parameters"):
            table.add_column(heading)
        for trial in self._best[1][:SHOWN]:
            table.add_row(
                f"{trial.number} (best)",
                "",
                f"{trial.values[0]:.4f}{beside_accuracy(trial, self.plan)}",
                plain(parameters_of(trial)),
            )
        for trial in [trial for trial in trials if trial.state == TrialState.RUNNING][:SHOWN]:
            step = trial.last_step
            value = "" if step is None else f"{trial.intermediate_values[step]:.4f}"
            epoch = trial.user_attrs.get("step") if step is None else step
            table.add_row(str(trial.number), "" if epoch is None else str(epoch), value, plain(parameters_of(trial)))
        return table

    def _print_news(self, trials: "list[FrozenTrial]", standing: str) -> None:
        """Print the outcome of each trial that has ended since the last call, and the counts."""
        for trial in trials:
            if trial.state.is_finished() and (trial.number, trial.state.name) not in self._told:
                self._told.add((trial.number, trial.state.name))
                print(printable(f"{outcome(trial, self.plan)}\n  {standing}"), flush=True)

    def _progress(self, trials: "list[FrozenTrial]", counts: Counts) -> float:
        """Count the trials that are done; a running trial counts with the share of its epochs or folds."""
        from optuna.trial import TrialState

        steps = [trial.last_step for trial in trials if trial.state == TrialState.RUNNING]
        parts = sum((step + 1) / (self.plan.folds or self.plan.epochs) for step in steps if step is not None)
        return counts.finished + parts

    def _time_left(self, progress: float, total: int) -> str:
        """Estimate the time left from the progress since this command started."""
        if progress >= total:
            return "nothing left to do"
        if self._progress_before is None:
            self._progress_before = progress
        spent, done = time.monotonic() - self._start, progress - self._progress_before
        if done <= 0:
            return "time left unknown"
        left = min((total - progress) * spent / done, self.seconds - spent)
        return f"about {max(left, 0) / 60:.0f} minutes left"


def parameters_of(trial: "FrozenTrial") -> str:
    """Format the parameters of a trial, each with the last part of its name."""
    return ", ".join(
        f"{name.rpartition('.')[2]} {value:.3g}" if isinstance(value, float) else f"{name.rpartition('.')[2]} {value}"
        for name, value in trial.params.items()
    )


def outcome(trial: "FrozenTrial", plan: Plan) -> str:
    """Describe how a trial ended."""
    from optuna.trial import TrialState

    if trial.state == TrialState.COMPLETE:
        return describe_trial(trial, plan)
    return f"trial {trial.number} {trial.user_attrs.get(ENDING, trial.state.name.lower())}: {trial.user_attrs.get(REASON, '')}"
