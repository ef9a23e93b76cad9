"""Mixed: cells of several laboratories at once."""

import os
from functools import cached_property
from pathlib import Path
from typing import Any

from bcc_lightning.argument_types import check_types
from bcc_lightning.datamodules.image_files import ImageFiles
from bcc_lightning.datasets.laboratories import divide_laboratories, join_laboratories
from bcc_lightning.datasets.listing import CellListing
from bcc_lightning.datasets.places import data_folder
from bcc_lightning.datasets.splits import Codes, SplitPlan
from bcc_lightning.errors import UserError


class Mixed(ImageFiles):
    """Folders of class folders, or tables, each of another laboratory, with the classes that they have together.

    Each laboratory is in all sets: those that it lacks are cut from its own cells, while a class of fewer than three cells in
    one laboratory is only trained on. ``--data.folds`` divides all cells together. ``--data.balance laboratories`` draws from
    all equally often, ``--data.leave_out NAME`` tests on one that is not trained on.

    Args:
        sets: the folders and tables, below ``$BCC_DATA_DIR`` or anywhere; a laboratory has the name of its own.
        classes: class names in label order; by default all that one of the sets holds, in alphabetical order.
        **base: see `ImageFiles` and `CellDataModule`; without `root`.

    Raises:
        UserError: `root` is given.
    """

    folder = "mixed"

    def __init__(
        self,
        sets: list[str] | None = None,
        classes: list[str] | None = None,
        **base: Any,  # noqa: ANN401 - the base class's own arguments
    ) -> None:
        check_types("data", Mixed, locals())
        if base.get("root"):
            raise UserError(
                f"--data.root {base['root']} has no place beside --data.sets, which names each laboratory; leave it out"
            )
        super().__init__(**base)
        self.sets = list(sets or ())
        here = [place.absolute() for name in self.sets for place in (Path(name), data_folder(name)) if place.exists()]
        self.root = Path(os.path.commonpath(here)) if here else Path()
        self.classes = tuple(classes) if classes else None

    @cached_property
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the classes."""
        return self.listing.class_names

    def list_files(self) -> CellListing:
        """List the files of all laboratories."""
        return join_laboratories(self.sets, self.classes)

    def codes_of(self, plan: SplitPlan) -> Codes:
        """Divide each laboratory by itself; a split file, and folds, divide all cells together."""
        if plan.folds or self.split_file:
            return super().codes_of(plan)
        return divide_laboratories(plan, self.cells, self.listing.laboratory_names, self.group_names, self.class_names)
