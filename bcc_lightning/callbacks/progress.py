"""Shows a training while it runs: a line for each epoch and, on a terminal, a bar below them that never stands still."""

import shutil
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from math import inf, isfinite
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar, Timer
from tqdm import tqdm

from bcc_lightning.callbacks.pace import Pace
from bcc_lightning.datasets.batches import CellBatch
from bcc_lightning.modules.base import CellClassifier
from bcc_lightning.printable import printable
from bcc_lightning.processes import signs_of_life
from bcc_lightning.steps import HOUR, MINUTE, duration, is_terminal

TICK_SECONDS = 0.5
"""Seconds between two states of the bar. A thread draws it, so that it moves also while a batch is loaded or computed."""

PATIENCE_SECONDS = 30.0
"""Where there is no bar: seconds without a line after which the first epoch says how far it has come."""


class TrainingProgress(ProgressBar):
    """Prints a line at the end of each epoch, and on a terminal shows loss, speed and time left in between.

    Args:
        clock: returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        super().__init__()
        self.pace = Pace(clock)
        self._is_enabled = True
        self._open = ExitStack()
        self._bar: tqdm[Any] | None = None
        self._state: Callable[[], tuple[str, float, float]] = self.loading  # text with the bar's place, batches done, all batches
        self._started = clock()
        self._is_told = False
        self._has_validated = False
        # An epoch whose line is still to be printed, its seconds and its images per second.
        self._ended: tuple[str, float, float] | None = None

    def disable(self) -> None:
        """Show nothing: on all processes but the first."""
        self._is_enabled = False

    def enable(self) -> None:
        """Show it."""
        self._is_enabled = True

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to show, before the first batch is loaded."""
        self._started, self._is_told = self.pace.clock(), False
        self._begin(self.loading)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the first epoch: in that after resuming, Lightning leaves out the hook below."""
        self._begin_epoch()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line of the epoch before, whose figures are known only now, and begin this one."""
        self._say_epoch()
        self._begin_epoch()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's signature
        batch: CellBatch,
        batch_idx: int,
    ) -> None:
        """Count a batch of all processes."""
        self.pace.train(len(batch.label) * trainer.world_size)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the validation."""
        self.pace.begin_validation()

    def on_validation_batch_end(self, *_: Any, **__: Any) -> None:  # noqa: ANN401 - Lightning's signature
        """Count a batch of the validation."""
        self.pace.validate()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on with training batches, if it was in the middle of an epoch."""
        self._has_validated = True
        self.pace.resume()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the epoch."""
        self._ended = self.epoch, self.pace.epoch_seconds, self.pace.images_per_second_in_epoch
        self.pace.end_epoch()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line of the last epoch, and why there is none after it; remove the bar."""
        self._say_epoch()
        early = trainer.early_stopping_callback
        if early is not None and early.stopped_epoch:
            epochs = f"{early.patience} epoch{'' if early.patience == 1 else 's'}"
            self._say(f"stopped: {epochs} without a better {early.monitor.replace('val/', 'validation ')}")
        if any(seconds <= 0 for seconds in self.limits):
            self._say("stopped: its time was up (--trainer.max_time)")
        self._close()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a test."""
        self.pace.begin_epoch(0, sum(trainer.num_test_batches), 0)
        self._begin(self.testing)

    def on_test_batch_end(self, *_: Any, **__: Any) -> None:  # noqa: ANN401 - Lightning's signature
        """Count a batch of the test."""
        self.pace.validate()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Print the line of an epoch that had ended, and remove the bar."""
        if self._trainer is not None:  # else the setup has failed
            self._say_epoch()
        self._close()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Remove the bar."""
        self._close()

    def loading(self) -> tuple[str, float, float]:
        """Describe a training before its first batch."""
        return f"loading the first images: {clock_time(self.pace.clock() - self._started)}", 0, 1

    def training(self) -> tuple[str, float, float]:
        """Describe an epoch."""
        pace = self.pace
        if not pace.done and pace.images_per_second is None:
            return self.loading()
        is_validating = pace.done >= pace.batches and pace.validated < pace.to_validate
        loss = mean_loss(self.trainer.lightning_module)
        here, left = pace.left_in_epoch, self.left
        parts = [
            "" if loss is None else f"loss {loss:.3f}",
            "validating" if is_validating else f"{pace.images_per_second or 0:.0f} images/s",
            "" if here is None else f"{clock_time(here)} left",
            "" if left is None else f"in all {clock_time(left)}",
        ]
        text = f"{self.epoch} |{{bar}}| {', '.join(part for part in parts if part)}"
        return text, pace.done + pace.validated, pace.batches + pace.to_validate

    def testing(self) -> tuple[str, float, float]:
        """Describe a test."""
        done, batches = self.pace.validated, self.pace.to_validate
        return f"testing |{{bar}}| {done} of {batches} batches", done, batches

    @property
    def epoch(self) -> str:
        """The epoch, counted from 1."""
        number, last = self.trainer.current_epoch + 1, self.trainer.max_epochs
        return f"epoch {number}" if last in {None, -1} else f"epoch {number:>{len(str(last))}} of {last}"

    @property
    def left(self) -> float | None:
        """Seconds until the training ends; None where that is unknown."""
        known = [seconds for seconds in (self.pace.left, *self.limits) if seconds is not None]
        return max(0.0, min(known)) if known else None

    @property
    def limits(self) -> list[float]:
        """Seconds until the training must end, where its time is limited."""
        found = [one.time_remaining() for one in self.trainer.callbacks if isinstance(one, Timer)]  # type: ignore[attr-defined]
        return [seconds for seconds in found if seconds is not None]

    def tick(self, number: int = 0) -> None:
        """Draw the bar; where there is none, say once of a long first epoch how far it has come."""
        text, done, batches = self._state()
        if self._bar is not None:
            self._bar.bar_format, self._bar.ncols = text, columns()
            self._bar.n, self._bar.total = done, batches if isfinite(batches) else None
            self._bar.refresh()
        elif not self._is_told and self.pace.clock() - self._started >= PATIENCE_SECONDS and self._state != self.testing:
            self._say(text.replace(" |{bar}| ", f": {100 * done / batches:.0f} %, "))

    def _begin(self, state: Callable[[], tuple[str, float, float]]) -> None:
        self._state = state
        if not self._is_enabled:
            return
        if is_live():
            text, _, _ = state()
            # Its own look at the size of the terminal shows nothing where that says 0, as in some containers.
            rows = shutil.get_terminal_size().lines
            self._bar = tqdm(total=1, file=sys.stdout, bar_format=text, leave=False, ncols=columns(), nrows=rows)
        self._open.enter_context(signs_of_life(self.tick, TICK_SECONDS))

    def _close(self) -> None:
        self._open.close()
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _begin_epoch(self) -> None:
        trainer, self._has_validated = self.trainer, False
        batches, after = float(trainer.num_training_batches), inf
        if trainer.max_epochs not in {None, -1}:
            after = trainer.max_epochs - trainer.current_epoch - 1
        if trainer.max_steps > 0:
            steps = (trainer.max_steps - trainer.global_step) * trainer.accumulate_grad_batches
            batches, after = min(batches, steps), min(after, steps / batches - 1)
        self.pace.begin_epoch(batches, float(self.total_val_batches), max(0.0, after))
        self._state = self.training

    def _say_epoch(self) -> None:
        """Print the line of an epoch that has ended; its training loss is logged after the hooks of its end."""
        if self._ended is None:
            return
        (epoch, seconds, speed), self._ended = self._ended, None
        trainer, left = self.trainer, self.left
        metrics, early = trainer.callback_metrics, trainer.early_stopping_callback
        shown = {"train/loss": "loss", **({"val/accuracy": "validation accuracy"} if self._has_validated else {})}
        parts = [f"{title} {float(metrics[name]):.4f}" for name, title in shown.items() if name in metrics]
        parts += [f"{speed:.0f} images/s", duration(seconds)]
        if left and not trainer.should_stop:
            most = "at most " if early is not None and early.patience < (trainer.max_epochs or inf) else ""
            parts.append(f"{most}{duration(left)} left")
        self._say(f"{epoch}: {', '.join(parts)}")

    def _say(self, line: str) -> None:
        """Print a line, above the bar."""
        self._is_told = True
        if not self._is_enabled:
            return
        if self._bar is not None:
            tqdm.write(printable(line), file=sys.stdout)
            sys.stdout.flush()
        else:
            print(printable(line), flush=True)


def is_live() -> bool:
    """Check whether standard output goes back to the beginning of a line: on a terminal, and in a notebook."""
    return is_terminal() or "ipykernel" in sys.modules


def columns() -> int:
    """Return how many characters a line of the terminal has, without the last one, behind which some break it."""
    return shutil.get_terminal_size().columns - 1


def clock_time(seconds: float) -> str:
    """Format a time as a clock does: ``0:38``, ``12:03``, ``1:02:03``."""
    whole = round(seconds)
    hours, minutes = f"{whole // HOUR}:" if whole >= HOUR else "", whole % HOUR // MINUTE
    return f"{hours}{minutes:0{2 if hours else 1}}:{whole % MINUTE:02}"


def mean_loss(module: LightningModule) -> float | None:
    """Return the mean training loss of the epoch so far, on this process; None before the first batch."""
    if not isinstance(module, CellClassifier):
        return None
    found = module.train_loss  # not its `compute`, for which it would wait for the other processes
    weight = float(found.weight)
    return float(found.mean_value) / weight if weight else None
