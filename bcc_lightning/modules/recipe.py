"""The recipe of a training in groups that check themselves: optimisation, schedule, averaging, loss, selection of the epoch.

On the command line and in experiment files the fields of the first four are arguments of the module: ``--model.lr``,
``--model.schedule``; those of the last are ``--selection.patience`` and its like.
"""

from dataclasses import dataclass
from typing import Literal

from bcc_lightning.argument_types import BELOW_ONE, NOT_NEGATIVE, Range, check_ranges, check_types
from bcc_lightning.errors import UserError

AverageName = Literal["none", "ema", "swa"]
Keep = Literal["best", "last"]
LossName = Literal["cross_entropy", "focal"]
Mode = Literal["max", "min"]
OptimizerName = Literal["adam", "adamw", "sgd", "rmsprop", "lion"]
ScheduleName = Literal["constant", "cosine", "one_cycle", "plateau", "step"]


@dataclass(frozen=True)
class Optimisation:
    """Which optimiser trains the weights, and how fast.

    Attributes:
        optimizer: name of the optimiser.
        lr: learning rate.
        momentum: of ``sgd`` and ``rmsprop``, in [0, 1).
        weight_decay: weight decay.
        layer_decay: factor of the learning rate from a block of the backbone to the one before it, in (0, 1].
    """

    optimizer: OptimizerName = "adam"
    lr: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 0.0
    layer_decay: float = 1.0

    def __post_init__(self) -> None:
        check_types("model", Optimisation, vars(self))
        layers = ("above 0, up to 1, which switches it off", lambda x: 0 < x <= 1)
        ranges = {"lr": NOT_NEGATIVE, "momentum": BELOW_ONE, "weight_decay": NOT_NEGATIVE, "layer_decay": layers}
        check_ranges("model", vars(self), ranges)


@dataclass(frozen=True)
class Schedule:
    """How the learning rate moves.

    Attributes:
        schedule: ``constant``; ``cosine`` down to 0 at the last step; ``one_cycle`` up and down to almost 0, with the momentum
            against it; ``plateau`` lower by `lr_factor` if validation has not become better for `plateau_patience` epochs;
            ``step`` lower by `lr_factor` at each of the `milestones`.
        warmup_epochs: epochs over which the learning rate rises linearly to its full value; ``one_cycle`` rises over them,
            ``plateau`` takes none.
        milestones: epochs, from 1, before which ``step`` lowers it.
        lr_factor: what ``step`` and ``plateau`` multiply it by, in (0, 1).
        plateau_patience: epochs without a better value before ``plateau`` lowers it, 1 or more.
    """

    schedule: ScheduleName = "constant"
    warmup_epochs: float = 0.0
    milestones: list[int] | None = None
    lr_factor: float = 0.1
    plateau_patience: int = 3

    def __post_init__(self) -> None:
        """Refuse what does not exist, is out of range, or excludes something else."""
        check_types("model", Schedule, vars(self))
        ranges: dict[str, Range] = {
            "warmup_epochs": NOT_NEGATIVE,
            "lr_factor": ("above 0 and below 1", lambda x: 0 < x < 1),
            "plateau_patience": ("1 or more", lambda x: x >= 1),
            "milestones": ("epochs from 1 in ascending order", lambda x: not x or (x[0] >= 1 and sorted(set(x)) == list(x))),
        }
        check_ranges("model", vars(self), ranges)
        if self.schedule == "step" and not self.milestones:
            raise UserError("--model.schedule step needs the epochs of its steps, e.g. --model.milestones [50,75]")
        if self.schedule == "plateau" and self.warmup_epochs:
            raise UserError("--model.schedule plateau takes no warm-up; leave --model.warmup_epochs out, or use step or cosine")

    @property
    def is_constant(self) -> bool:
        """Whether the learning rate never moves."""
        return self.schedule == "constant" and self.warmup_epochs == 0


@dataclass(frozen=True)
class Averaging:
    """Which weights are validated and kept.

    Attributes:
        average: those of the last step (``none``), their exponential moving average (``ema``), or the mean of epochs' ends
            (``swa``).
        ema_decay: how slowly ``ema`` forgets, in [0, 1).
        swa_start: share of the epochs after which ``swa`` begins, in [0, 1).
    """

    average: AverageName = "none"
    ema_decay: float = 0.999
    swa_start: float = 0.75

    def __post_init__(self) -> None:
        check_types("model", Averaging, vars(self))
        check_ranges("model", vars(self), {"ema_decay": BELOW_ONE, "swa_start": BELOW_ONE})


@dataclass(frozen=True)
class Loss:
    """What is minimised.

    Attributes:
        loss: cross-entropy or the focal loss.
        focal_gamma: see `focal_loss`.
        label_smoothing: share of the target that is spread over all classes, in [0, 1).
        consistency: weight of the difference between the answers for two views of a cell (Jensen-Shannon divergence), which
            ``--data.views 2`` draws.
    """

    loss: LossName = "cross_entropy"
    focal_gamma: float = 2.0
    label_smoothing: float = 0.0
    consistency: float = 0.0

    def __post_init__(self) -> None:
        check_types("model", Loss, vars(self))
        ranges: dict[str, Range] = {"focal_gamma": NOT_NEGATIVE, "label_smoothing": BELOW_ONE, "consistency": NOT_NEGATIVE}
        check_ranges("model", vars(self), ranges)


@dataclass(frozen=True)
class Selection:
    """Which epoch's weights are kept, and when training stops. The test set is not used for it.

    Args:
        monitor: metric of the validation set.
        mode: whether ``max`` or ``min`` is better.
        patience: epochs without a better value before training stops; null never stops early.
        keep: weights of the ``best`` or of the ``last`` epoch.
    """

    monitor: str = "val/accuracy"
    mode: Mode = "max"
    patience: int | None = 5
    keep: Keep = "best"

    def __post_init__(self) -> None:
        check_types("selection", Selection, vars(self))
        if self.patience is not None and self.patience < 1:
            raise UserError(f"--selection.patience is {self.patience}, it must be 1 or more, or null, which never stops early")
