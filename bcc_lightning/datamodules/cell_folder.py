"""CellFolder: any folder of classes."""

from functools import cached_property
from typing import Any

from bcc_lightning.datamodules.files import ImageFiles
from bcc_lightning.datamodules.listing import CellListing, list_folder


class CellFolder(ImageFiles):
    """Image files in ``train/ val/ test/`` of class folders, or in class folders alone.

    Parts that the folder lacks are cut from the others.

    Args:
        classes: class folders to be read, in label order; by default all, in alphabetical order.
        **base: see `ImageFiles` and `CellDataModule`.
    """

    folder = "cell_folder"

    def __init__(self, classes: list[str] | None = None, **base: Any) -> None:  # noqa: ANN401 - the base class's own arguments
        super().__init__(**base)
        self.classes = tuple(classes) if classes else None

    @cached_property
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the class folders."""
        return self.listing.class_names

    def list_files(self) -> CellListing:
        """List the folder."""
        return list_folder(self.root, self.classes)
