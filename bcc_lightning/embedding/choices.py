"""What can be chosen of features and their probe, and what is taken otherwise; no library is loaded for it."""

from pathlib import Path

from bcc_lightning.errors import UserError
from bcc_lightning.optional_imports import optional_import

BATCH = 64
"""Cells that the network sees at once."""

FOLDS = 5
"""Stratified folds of a probe, where no laboratory is left out."""

FORMATS = {".parquet", ".h5"}
"""Ends of the names of files of features."""

PAGE = "probe.html"
"""Page of a probe."""


def chosen_folds(folds: int | None, left_out: str | None) -> int:
    """Return the number of folds of a probe; 0 for the data set's own training and test sets.

    Folds would spread the cells of a laboratory that is left out over training and test.

    Args:
        folds: as it was asked for; None where it was not.
        left_out: the laboratory that is the test set as a whole, if there is one.

    Raises:
        UserError: there cannot be so many folds, or a laboratory is left out beside them.
    """
    if folds is None:
        return 0 if left_out else FOLDS
    if folds < 0 or folds == 1:
        raise UserError(f"--folds is {folds}; it must be 0, or a whole number from 2")
    if folds and left_out:
        raise UserError(
            f"--folds {folds} would train on cells of {left_out}, which --data.leave_out keeps for the test; leave --folds out"
        )
    return folds


def refuse_wrong_name(out: Path) -> None:
    """Refuse a file of another kind, before anything is computed.

    Raises:
        UserError: the suffix is none of `FORMATS`, or h5py is missing.
    """
    if out.suffix not in FORMATS:
        raise UserError(f"--out {out} ends in '{out.suffix}'; it must end in {' or '.join(sorted(FORMATS))}")
    if out.suffix == ".h5":
        with optional_import("h5", "--out *.h5"):
            import h5py  # noqa: F401 - missing later, the work would be lost
