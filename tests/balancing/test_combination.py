"""One correction for rare classes is silent, two are not."""

from typing import get_args

import pytest

from bcc_lightning.balancing.balance import Balance, combination_warning
from bcc_lightning.modules.recipe import LossName


@pytest.mark.parametrize("mixing", ["none", "mixup"])
@pytest.mark.parametrize("balance", [name for name in get_args(Balance) if name != "smote"])
def test_one_correction_is_silent(balance: str, mixing: str) -> None:
    assert combination_warning(balance, "cross_entropy", "light", mixing) is None


def test_focal_loss_alone_is_silent() -> None:
    assert "focal" in get_args(LossName)
    assert combination_warning("none", "focal", "none", "cutmix") is None


@pytest.mark.parametrize("balance", [name for name in get_args(Balance) if name != "none"])
def test_balance_and_focal_loss_correct_twice(balance: str) -> None:
    warning = combination_warning(balance, "focal", "light", "none")
    assert warning == (
        f"--data.balance {balance} and the focal loss each favour rare classes, "
        "and together may cause them to be predicted too often; keep one of them."
    )


def test_three_corrections_are_all_named() -> None:
    warning = combination_warning("class_weights", "focal", "light", "none", cell_weights=True)
    assert warning is not None
    assert warning.startswith("--data.balance class_weights, the focal loss and the weights of the cells each favour")


def test_a_balanced_folder_needs_no_balance() -> None:
    # The double correction of a published system: class weights on top of an oversampled training set.
    warning = combination_warning("class_weights", "cross_entropy", "none", "none", balanced_folder=True)
    assert warning == ("the folder is already balanced, --data.balance class_weights changes nothing; use --data.balance none.")
    assert combination_warning("none", "cross_entropy", "none", "none", balanced_folder=True) is None
    assert "the balanced folder and the focal loss" in str(
        combination_warning("none", "focal", "none", "none", balanced_folder=True)
    )


@pytest.mark.parametrize("balance", ["oversample", "weighted_sampler"])
def test_the_same_images_again_and_again(balance: str) -> None:
    assert "without augmentation" in str(combination_warning(balance, "cross_entropy", "none", "none"))


def test_smote_and_mixing_blend_twice() -> None:
    assert combination_warning("smote", "cross_entropy", "none", "none") is None
    assert "smote blends two cells of a class, and cutmix blends the result once more" in str(
        combination_warning("smote", "cross_entropy", "none", "cutmix")
    )
