"""Which corrections for rare classes go together, and what to say of those that do not."""

from collections.abc import Iterator

NONE = "none"
REDRAWING = {"oversample", "weighted_sampler"}
"""Balances that draw a cell of a rare class several times an epoch."""


def combination_warning(
    balance: str, loss: str, augment: str, mixing: str, balanced_folder: bool = False, cell_weights: bool = False
) -> str | None:
    """Say what is wrong with a choice of corrections.

    Each alone works with hard and with soft labels: weights of two cells are mixed in the same shares as their images and labels,
    drawing and synthetic cells do not touch labels, and the focal loss has a soft form. Two of them together correct twice.

    Args:
        balance: a name of `bcc_lightning.balancing.balance.Balance`.
        loss: a name of `bcc_lightning.modules.losses.LossName`.
        augment: name of the augmentation, ``none`` for none.
        mixing: name of what mixes the cells of a batch, ``none`` for none.
        balanced_folder: whether the training part was written by `bcc_lightning.datamodules.balanced_folder`.
        cell_weights: whether the data bring a weight for each cell.

    Returns:
        One sentence, or None where nothing is wrong.
    """
    complaints = list(_complaints(balance, loss, augment, mixing, balanced_folder, cell_weights))
    return "; ".join(complaints) + "." if complaints else None


def _complaints(balance: str, loss: str, augment: str, mixing: str, balanced_folder: bool, cell_weights: bool) -> Iterator[str]:
    corrections = [f"--data.balance {balance}"] if balance != NONE and not balanced_folder else []
    corrections += ["the balanced folder"] if balanced_folder else []
    corrections += ["the focal loss"] if loss == "focal" else []
    corrections += ["the weights of the cells"] if cell_weights else []
    if balanced_folder and balance != NONE:
        yield f"the folder is balanced already and --data.balance {balance} changes nothing; use --data.balance none"
    if len(corrections) > 1:
        listed = f"{', '.join(corrections[:-1])} and {corrections[-1]}"
        yield f"{listed} each favour rare classes, together they may be predicted too often; keep one of them"
    if balance in REDRAWING and augment == NONE and not balanced_folder:
        yield f"--data.balance {balance} without augmentation draws the same pictures again and again; add --data.augment light"
    if balance == "smote" and mixing != NONE:
        yield f"smote blends two cells of a class and {mixing} blends the result once more; keep one of them"
