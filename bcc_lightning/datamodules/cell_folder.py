"""CellFolder: any folder of classes."""

from functools import cached_property
from typing import Any

from bcc_lightning.argument_types import check_types
from bcc_lightning.datamodules.image_files import ImageFiles
from bcc_lightning.datasets.cell_folder import balanced_training_set, list_cell_folder, sister_notices
from bcc_lightning.datasets.listing import CellListing


class CellFolder(ImageFiles):
    """Image files in class folders, alone or in ``train/ val/ test/``; set folders may have any of their common names.

    Sets that the folder lacks are cut from the training set.

    Args:
        classes: class folders to read, in label order; by default all, in alphabetical order.
        **base: see `ImageFiles` and `CellDataModule`.
    """

    folder = "cell_folder"

    def __init__(self, classes: list[str] | None = None, **base: Any) -> None:  # noqa: ANN401 - the base class's own arguments
        check_types("data", CellFolder, locals())
        super().__init__(**base)
        self.classes = tuple(classes) if classes else None

    @cached_property
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the class folders."""
        return self.listing.class_names

    @cached_property
    def is_balanced_folder(self) -> bool:
        """Whether the training set is one that ``data balance`` wrote."""
        return balanced_training_set(self.root) is not None

    def list_files(self) -> CellListing:
        """List the folder; raises as `list_cell_folder`."""
        return list_cell_folder(self.root, self.classes)

    def file_notices(self) -> list[str]:
        """Add that the root is only one set, if other sets are beside it."""
        return [*super().file_notices(), *sister_notices(self.listing)]
