"""CellTable: image files listed in a CSV or Parquet table."""

from functools import cached_property
from pathlib import Path
from typing import Any

from bcc_lightning.argument_types import check_types
from bcc_lightning.datamodules.image_files import ImageFiles
from bcc_lightning.datasets.listing import CellListing
from bcc_lightning.datasets.table import list_table


class CellTable(ImageFiles):
    """Image files listed in a table with the columns ``path`` and ``label``, and optionally ``split``, ``group``, ``weight``.

    Paths are relative to the table's folder. Labels are names, or whole numbers if `classes` gives the names. A group, such
    as a patient or a slide, is never in two sets.

    Args:
        table: the file, ``.csv`` or ``.parquet``; by default ``cells.csv`` in `root`.
        classes: class names in label order; by default those of the table in alphabetical order.
        **base: see `ImageFiles` and `CellDataModule`.
    """

    folder = "cell_table"

    def __init__(
        self,
        table: str | None = None,
        classes: list[str] | None = None,
        **base: Any,  # noqa: ANN401 - the base class's own arguments
    ) -> None:
        check_types("data", CellTable, locals())
        super().__init__(**base)
        self.table = Path(table) if table else self.root / "cells.csv"
        self.root = self.table.parent
        self.classes = tuple(classes) if classes else None

    @cached_property
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the classes."""
        return self.listing.class_names

    def list_files(self) -> CellListing:
        """List the files that the table names."""
        return list_table(self.table, self.classes)
