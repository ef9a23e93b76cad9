"""How a trial ended, read from what it said last and how its process ended."""

import math
import signal
from dataclasses import dataclass
from typing import Any

from bcc_lightning.tuning.plan import Plan
from bcc_lightning.tuning.study import FAILED, OUT_OF_MEMORY

MEMORY_ERRORS = ("OutOfMemoryError", "MemoryError", "out of memory", "can't allocate memory", "cannot allocate memory")
"""What torch, Python and the processor's allocator say."""


@dataclass(frozen=True)
class TrialEnd:
    """How a trial ended.

    Attributes:
        values: a value for each metric; None where it failed.
        ending: how it failed, see `bcc_lightning.tuning.study`; None where it did not.
        reason: in words for people.
    """

    values: list[float] | None
    ending: str | None = None
    reason: str = ""


def read_end(plan: Plan, last: dict[str, Any] | None, exit_code: int, last_words: str) -> TrialEnd:
    """Read how a trial ended that nobody stopped.

    Args:
        plan: the search.
        last: the trial's closing message; None where there was none.
        exit_code: of its process; negative for a signal.
        last_words: end of its output.
    """
    if last and last["status"] == "FINISHED":  # also where its run could not be filed, which the exit code then says
        return read_figures(plan, last["figures"])
    reason = (last or {}).get("failure") or describe_exit(exit_code, last_words)
    ending = OUT_OF_MEMORY if any(sign in reason for sign in MEMORY_ERRORS) else FAILED
    return TrialEnd(None, ending, reason)


def read_figures(plan: Plan, figures: dict[str, float]) -> TrialEnd:
    """Choose the search's metrics from the figures of a finished trial."""
    if missing := [metric for metric in plan.metrics if metric not in figures]:
        return TrialEnd(None, FAILED, f"there is no {' or '.join(missing)}; there are: {', '.join(sorted(figures))}")
    values = [float(figures[metric]) for metric in plan.metrics]
    if not all(map(math.isfinite, values)):
        named = ", ".join(f"{metric} is {value}" for metric, value in zip(plan.metrics, values, strict=True))
        return TrialEnd(None, FAILED, f"not finite: {named}")
    return TrialEnd(values)


def describe_exit(exit_code: int, last_words: str) -> str:
    """Word how a process ended that said nothing itself."""
    if exit_code < 0:
        memory = " (the system does that where memory runs out)" if -exit_code == signal.SIGKILL else ""
        return f"killed by {signal.Signals(-exit_code).name}{memory}"
    return f"exit code {exit_code}: {last_words}"
