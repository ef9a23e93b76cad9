"""What a search is: kept in the study, so that a worker anywhere needs no more than storage and name."""

import sys
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from bcc_lightning.argument_types import built_from, check_types
from bcc_lightning.errors import UserError
from bcc_lightning.tuning.space import Space, read_space

Direction = Literal["maximize", "minimize"]

FIT = "bcc_lightning.fit"
"""The program that a trial runs."""


def maximize() -> list[Direction]:
    """Give the directions of a search for the highest accuracy."""
    return ["maximize"]


@dataclass(frozen=True)
class Plan:
    """A search. What workers need is here; no password is, nor anything that belongs to one machine alone.

    Attributes:
        study: name of the study.
        experiment: name of the experiment, or names joined by ``+``.
        argv: arguments of each trial, without those that are searched.
        space: content of the file with the search space.
        metrics: what is optimised; the first is a metric of the validation part.
        directions: whether larger or smaller is better, for each metric.
        trials: how many there are to be in all, retries apart.
        sampler: who proposes, see `bcc_lightning.tuning.sampling.SAMPLERS`.
        pruner: who stops trials early, see `bcc_lightning.tuning.sampling.PRUNERS`.
        seed: seed of the proposals.
        epochs: epochs of a trial that is not stopped.
        folds: folds of a cross-validation that each trial is; 0 for none.
        batch_size: cells per batch where it is not searched; halved after a trial has run out of memory.
        accumulate: batches per step of the optimiser where it is not searched; doubled then.
        own: the experiment's own values of what is searched; the first trial.
        logs: folder that gets the output of each trial.
        program: what is run, before its arguments; ``-m bcc_lightning.fit`` of this Python if empty.
    """

    study: str
    experiment: str
    argv: list[str]
    space: dict[str, Any]
    metrics: list[str] = field(default_factory=lambda: ["val/accuracy"])
    directions: list[Direction] = field(default_factory=maximize)
    trials: int = 20
    sampler: str = "tpe"
    pruner: str = "none"
    seed: int = 0
    epochs: int = 30
    folds: int = 0
    batch_size: int = 32
    accumulate: int = 1
    own: dict[str, Any] = field(default_factory=dict)
    logs: str = "."
    program: list[str] = field(default_factory=list)

    @property
    def search_space(self) -> Space:
        """The search space."""
        return read_space(self.space, f"space of study {self.study}")

    @property
    def command(self) -> list[str]:
        """The program that a trial runs, before its arguments."""
        return self.program or [sys.executable, "-m", FIT]

    @classmethod
    def read(cls, content: object, study: str) -> "Plan":
        """Read a plan from a storage, where another version or another program may have written it.

        Raises:
            UserError: it is none.
        """
        if not isinstance(content, dict):
            raise UserError(f"study {study} was not started by this program, so nothing says what its trials run")
        plan = built_from(cls, content, f"study {study}")
        check_types(f"study {study}", cls, content)
        return plan

    def as_dict(self) -> dict[str, Any]:
        """Give a plain dict for JSON."""
        return asdict(self)
