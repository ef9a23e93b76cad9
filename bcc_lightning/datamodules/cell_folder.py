"""CellFolder: any folder of classes."""

from functools import cached_property
from pathlib import Path
from typing import Any

from bcc_lightning.argument_types import check_types
from bcc_lightning.datamodules.image_files import ImageFiles
from bcc_lightning.datasets.balanced_folder import MANIFEST, is_balanced_folder
from bcc_lightning.datasets.folder_files import image_paths, read_folder
from bcc_lightning.datasets.listing import BALANCED_TRAIN, NO_SPLIT, CellListing, list_folder
from bcc_lightning.datasets.spelling import letters, set_name, shown
from bcc_lightning.datasets.splits import TEST, VAL
from bcc_lightning.errors import UserError


class CellFolder(ImageFiles):
    """Image files in class folders, alone or in ``train/ val/ test/``; set folders may have any of their common names.

    Sets that the folder lacks are cut from the others.

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
    def balanced_folder(self) -> Path | None:
        """The folder of a training set that ``data balance`` wrote; None if there is none."""
        folders = [self.root / name for name in read_folder(self.root, "").folders if set_name(name) == "train"]
        return next((one for one in folders if letters(one.name) == letters(BALANCED_TRAIN) or is_balanced_folder(one)), None)

    @property
    def is_balanced_folder(self) -> bool:
        """Whether the training set was written by ``data balance``."""
        return self.balanced_folder is not None

    def list_files(self) -> CellListing:
        """List the folder.

        Raises:
            UserError: its balanced training set is unfinished, or lacks the validation or test set that belongs to it.
        """
        listing = list_folder(self.root, self.classes)
        balanced = self.balanced_folder
        if balanced and not ((balanced / MANIFEST).is_file() and {VAL, TEST} <= set(listing.splits.tolist())):
            raise UserError(
                f"{balanced} is not finished, or {self.root} lacks val or test; if they were cut from a balanced set, they "
                "would hold copies of training cells. Next step: run `data balance` again with the same arguments"
            )
        return listing

    def file_notices(self) -> list[str]:
        """Add that the root is one set only, if it is beside the others."""
        return [*super().file_notices(), *self.sister_notices()]

    def sister_notices(self) -> list[str]:
        """Describe the other sets beside a root that is a set itself, in one sentence; no sentence if there are none."""
        place = self.root.absolute()
        if not set_name(place.name) or (self.listing.splits != NO_SPLIT).any():
            return []
        beside = [name for name in read_folder(place.parent, "").folders if set_name(name) not in {None, set_name(place.name)}]
        counts = {name: sum(1 for _ in image_paths(place.parent, name)) for name in beside}
        sisters = ", ".join(f"{shown(name)} ({count:,} images)" for name, count in counts.items() if count)
        if not sisters:
            return []
        name = shown(place.name)
        return [f"{name} is read as the whole data set; beside it are {sisters}. To read all sets, name {place.parent} as root."]
