"""What can be chosen of features and their probe, and what is taken otherwise; no library is loaded for it."""

from pathlib import Path

from bcc_lightning.errors import UserError
from bcc_lightning.optional_imports import optional_import

BATCH = 64
"""Cells that the network sees at once."""

FOLDS = 5
"""Stratified folds of a probe."""

FORMATS = {".parquet", ".h5"}
"""Ends of the names of files of features."""

PAGE = "probe.html"
"""Page of a probe."""


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
