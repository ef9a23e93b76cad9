"""Arguments from Python, which no parser has looked at: an unknown name never falls through to a default."""

import re
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD

from bcc_lightning.architectures.acceleration import runs_in_bf16
from bcc_lightning.architectures.head import Head, as_head
from bcc_lightning.architectures.image_input import InputNormalisation
from bcc_lightning.architectures.plain_cnn import ConvBlocks
from bcc_lightning.argument_types import check_choice, fits
from bcc_lightning.audit.thresholds import Thresholds
from bcc_lightning.balancing.balance import balance_cells
from bcc_lightning.callbacks.checkpoints import selection_callbacks
from bcc_lightning.callbacks.stages import Stage
from bcc_lightning.datamodules import AN2DL, PBC, BloodMNIST, CellFolder, CellTable, RaabinWBC, SyntheticSmear
from bcc_lightning.datasets.batches import CellBatch
from bcc_lightning.errors import UserError
from bcc_lightning.modules import Ensemble, InceptionXception, PlainCNN, SupConClassifier, TransferClassifier
from bcc_lightning.modules.losses import focal_loss, soft_labels, supervised_contrastive_loss
from bcc_lightning.modules.optimization import Recipe, make_optimizer
from bcc_lightning.modules.recipe import Averaging, Loss, Schedule, Selection
from bcc_lightning.modules.schedules import Length, configure_schedule
from bcc_lightning.modules.test_time_augmentation import describe_views, mean_log_probability, views
from bcc_lightning.transforms.mixing import make_mixing
from bcc_lightning.tuning.executors import make_executor
from bcc_lightning.tuning.plan import Plan

COMMON: dict[str, Any] = {"class_names": ["a", "b"], "image_size": 32}
LOGITS, LABELS = torch.zeros(2, 2), torch.tensor([0, 1])
IMAGES = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
BATCH = CellBatch(IMAGES, LABELS, torch.ones(2), torch.arange(2), None)
LINEAR = nn.Linear(2, 2)
GROUPS = [{"params": list(LINEAR.parameters())}]


def plain(**arguments: Any) -> Callable[[], object]:
    return lambda: PlainCNN(**{**COMMON, **arguments})


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (plain(loss="focl"), "--model.loss is 'focl', it must be one of cross_entropy, focal; did you mean focal?"),
        (plain(schedule="cosin"), "one of constant, cosine, one_cycle, plateau, step; did you mean cosine?"),
        (plain(optimizer="adamm"), "one of adam, adamw, sgd, rmsprop, lion; did you mean adam?"),
        (plain(average="EMA"), "--model.average is 'EMA', it must be one of none, ema, swa; did you mean ema?"),
        (plain(test_time="flip"), "one of none, flips, dihedral, zooms; did you mean flips?"),
        (plain(precision="16"), "--model.precision is '16', it must be one of auto, 32, bf16"),
        (plain(input_order="gbr"), "--model.input_order is 'gbr'"),
        (plain(head=Head(pooling="avg").__dict__ | {"pooling": "max"}), "--model.head.pooling is 'max'"),
        (plain(blocks={"batch_norm": "befor"}), "--model.blocks.batch_norm is 'befor'"),
        (plain(blocks={"initialisation": "he"}), "--model.blocks.initialisation is 'he'"),
        (plain(blocks={"colour": 1}), "--model.blocks has no colour; it takes channels, convolutions"),
        (plain(pretrained="false"), "--model.pretrained is 'false', it must be true or false"),
        (plain(lr="1e-3"), "--model.lr is '1e-3', it must be a number"),
        (plain(lr=float("nan")), "--model.lr is nan, it must be a number"),
        (plain(lr=float("inf")), "--model.lr is inf, it must be 0 or more"),
        (plain(focal_gamma=-1.0), "--model.focal_gamma is -1.0, it must be 0 or more"),
        (plain(focal_gamma=float("nan")), "--model.focal_gamma is nan"),
        (plain(image_size=0), "--model.image_size is 0, it must be 1 or more"),
        (plain(image_size=True), "--model.image_size is True, it must be a whole number"),
        (plain(image_size=32.5), "--model.image_size is 32.5, it must be a whole number"),
        (plain(class_names="blast"), "--model.class_names is 'blast', it must be a list, each entry a text"),
        (plain(class_names=[]), "it must be two names or more, each once"),
        (plain(class_names=["a", "a"]), "it must be two names or more, each once"),
        (plain(milestones=[5, 3]), "epochs from 1 in ascending order"),
        (plain(milestones=["5"]), "--model.milestones is ['5']"),
        (lambda: TransferClassifier(**COMMON, frozen="backbon"), "--model.frozen is 'backbon'"),
        (lambda: InceptionXception(**COMMON, frozen="branch"), "--model.frozen is 'branch'"),
        (lambda: SupConClassifier(**COMMON, temperature="hot"), "--model.temperature is 'hot', it must be a number"),
        (lambda: Ensemble(**COMMON, members=["a"], weighting="fited"), "equal, fitted; did you mean fitted?"),
        (lambda: BloodMNIST(balance="smot"), "--data.balance is 'smot'"),
        (lambda: BloodMNIST(mixing="mix"), "--data.mixing is 'mix'"),
        (lambda: BloodMNIST(resolution=32), "--data.resolution is 32, it must be one of 28, 64, 128, 224"),
        (lambda: BloodMNIST(resolution="28"), "--data.resolution is '28'"),
        (lambda: BloodMNIST(download="no"), "--data.download is 'no', it must be true or false"),
        (lambda: BloodMNIST(verify_checksum=0), "--data.verify_checksum is 0, it must be true or false"),
        (lambda: BloodMNIST(batch_size=True), "--data.batch_size is True, it must be a whole number"),
        (lambda: BloodMNIST(test_on="other"), "--data.test_on is 'other', it must be a list, each entry a text or null"),
        (lambda: BloodMNIST(val_share=float("nan")), "--data.val_share is nan, it must be a number"),
        (lambda: PBC(split="wbc"), "--data.split is 'wbc', it must be one of folder, stratified, wbcatt"),
        (lambda: CellFolder(copies="dro", root="x"), "--data.copies is 'dro', it must be one of drop, keep; did you mean drop?"),
        (lambda: CellFolder(classes="blast", root="x"), "--data.classes is 'blast'"),
        (lambda: CellTable(classes="blast", root="x"), "--data.classes is 'blast'"),
        (lambda: RaabinWBC(test_folder=3), "--data.test_folder is 3"),
        (lambda: AN2DL(keep_outliers="yes"), "--data.keep_outliers is 'yes'"),
        (lambda: SyntheticSmear(train_cells=1.5), "--data.train_cells is 1.5"),
        (lambda: as_head({"pool": "avg"}), "--model.head has no pool; it takes batch_norm"),
        (lambda: Head(activation="swish"), "--model.head.activation is 'swish', it must be one of relu, gelu, silu, tanh"),
        (lambda: ConvBlocks(channels=[1.5]), "--model.blocks.channels is [1.5]"),
        (lambda: Selection(mode="most"), "--selection.mode is 'most', it must be one of max, min"),
        (lambda: Selection(keep="frist"), "--selection.keep is 'frist', it must be one of best, last"),
        (lambda: Selection(patience=0), "--selection.patience is 0, it must be 1 or more"),
        (lambda: Stage(lr=float("nan")), "--stages.lr is nan"),
        (lambda: Schedule("cosin"), "--model.schedule is 'cosin'"),
        (lambda: Thresholds(outliers=float("nan")), "--thresholds.outliers is nan"),
        (lambda: selection_callbacks(None, "val/accuracy", "max", 3, "frist"), "--selection.keep is 'frist'"),
        (lambda: selection_callbacks(None, "val/accuracy", "up", 3, "best"), "--selection.mode is 'up'"),
        (lambda: Averaging("emma"), "--model.average is 'emma'"),
        (lambda: Loss("focl"), "--model.loss is 'focl'"),
        (lambda: focal_loss(LOGITS, LABELS, float("nan")), "gamma of the focal loss is nan"),
        (lambda: focal_loss(LOGITS, LABELS, label_smoothing=1.5), "label_smoothing is 1.5"),
        (lambda: soft_labels(torch.ones(2, 1), 2), "soft labels have the shape (2, 1), the logits have 2 classes"),
        (lambda: supervised_contrastive_loss(LOGITS, LABELS, 0.0), "temperature of the contrastive loss is 0.0"),
        (lambda: make_optimizer(GROUPS, "adagrad", Recipe(0.1)), "--model.optimizer is 'adagrad'"),
        (lambda: configure_schedule(SGD(GROUPS), Schedule(), Length(1, 1, 1), "x", "up"), "--selection.mode is 'up'"),
        (lambda: list(views(IMAGES, "flip")), "--model.test_time is 'flip'"),
        (lambda: mean_log_probability(lambda images: images, IMAGES, "flip"), "--model.test_time is 'flip'"),
        (lambda: describe_views("flip"), "--model.test_time is 'flip'"),
        (lambda: runs_in_bf16(LINEAR, torch.device("cpu"), "fp16"), "--model.precision is 'fp16'"),
        (lambda: InputNormalisation(order="gbr"), "--model.input_order is 'gbr'"),
        (lambda: balance_cells(np.array([0, 1]), 2, "smot"), "--data.balance is 'smot'"),
        (lambda: make_mixing("mix"), "--data.mixing is 'mix'"),
        (lambda: make_executor("slrm", None, None), "--executor is 'slrm'"),
        (lambda: Plan.read(None, "theirs"), "study theirs was not started by this program"),
        (lambda: Plan.read({"study": "theirs", "colour": 1}, "theirs"), "study theirs has no colour"),
        (lambda: Plan.read({"study": "theirs", "experiment": "x", "argv": "a", "space": {}}, "theirs"), "argv is 'a'"),
    ],
)
def test_wrong_arguments_are_refused(build: Callable[[], object], expected: str) -> None:
    with pytest.raises(UserError, match=re.escape(expected)):
        build()


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (np.int64(3), int, True),
        (np.float32(3), float, True),
        (3, float, True),
        (3.0, int, False),
        (True, int, False),
        (True, float, False),
        (1, bool, False),
        (np.bool_(True), bool, True),
        (float("nan"), float, False),
        (float("inf"), float, True),
        (("a", "b"), list[str], True),
        (["a", 1], list[str], False),
        ((1.0, 2.0, 3.0), tuple[float, float, float], True),
        ((1.0, 2.0), tuple[float, float, float], False),
        ({}, dict[str, int], True),
        ([], dict[str, int], False),
        (None, int | None, True),
        (28, Literal[28, 64], True),
        (True, Literal[1, 2], False),
        (np.zeros(2), Literal["a"], False),
        (object(), Any, True),
    ],
)
def test_what_fits_an_annotation(value: object, hint: object, expected: bool) -> None:
    assert fits(value, hint) is expected


def test_a_value_that_is_allowed() -> None:
    check_choice("model.loss", "focal", Literal["cross_entropy", "focal"])
