"""CellFolder: any folder of classes."""

from functools import cached_property
from typing import Any

from bcc_lightning.argument_types import check_types
from bcc_lightning.datamodules.balanced_folder import MANIFEST
from bcc_lightning.datamodules.files import ImageFiles
from bcc_lightning.datamodules.listing import BALANCED_TRAIN, CellListing, list_folder
from bcc_lightning.datamodules.splitting import TEST, VAL
from bcc_lightning.errors import UserError


class CellFolder(ImageFiles):
    """Image files in ``train/ val/ test/`` of class folders, or in class folders alone.

    Parts that the folder lacks are cut from the others.

    Args:
        classes: class folders to be read, in label order; by default all, in alphabetical order.
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

    @property
    def is_balanced_folder(self) -> bool:
        """Whether the training part is one that ``data balance`` wrote."""
        return (self.root / BALANCED_TRAIN).is_dir()

    def list_files(self) -> CellListing:
        """List the folder.

        Raises:
            UserError: it holds a balanced training part that is not finished, or without the parts that belong to it.
        """
        listing = list_folder(self.root, self.classes)
        finished = (self.root / BALANCED_TRAIN / MANIFEST).is_file() and {VAL, TEST} <= set(listing.splits.tolist())
        if self.is_balanced_folder and not finished:
            raise UserError(
                f"{self.root / BALANCED_TRAIN} is not finished, or {self.root} lacks val or test; cut from a balanced part they "
                "would hold copies of training cells. Next step: run `data balance` again with the same arguments"
            )
        return listing
