"""Raabin-WBC: five classes of white blood cells, crops of 575 pixels labelled twice, with separate test sets.

Kouzehkanan et al., Sci Rep 12 (2022) 1123, doi:10.1038/s41598-021-04426-x.
"""

from typing import Any

from bcc_lightning.argument_types import check_types
from bcc_lightning.datamodules.image_files import ImageFiles
from bcc_lightning.datasets.classes import WHITE_CELL_CLASSES
from bcc_lightning.datasets.folder_files import read_folder
from bcc_lightning.datasets.listing import CellListing, list_folder
from bcc_lightning.datasets.spelling import file_key, set_name
from bcc_lightning.errors import UserError


class RaabinWBC(ImageFiles):
    """Raabin-WBC's ``Train`` folder, from which a validation set is cut, and one of its test folders.

    Args:
        test_folder: e.g. ``Test-A``; by default the folder whose name begins with ``Test``, if there is only one.
        **base: see `ImageFiles` and `CellDataModule`.
    """

    class_names = WHITE_CELL_CLASSES
    folder = "raabin_wbc"

    def __init__(self, test_folder: str | None = None, **base: Any) -> None:  # noqa: ANN401 - the base class's own arguments
        check_types("data", RaabinWBC, locals())
        super().__init__(**base)
        self.test_folder = test_folder

    def list_files(self) -> CellListing:
        """List the training folder and the chosen test folder.

        Raises:
            UserError: a folder is missing, or there are several test folders and none is chosen.
        """
        folders = read_folder(self.root, "").folders
        tests = [name for name in folders if set_name(name) == "test"]
        if self.test_folder is None and len(tests) != 1:
            raise UserError(
                f"{self.root} holds the test folders {tests}; choose one with --data.test_folder NAME, others with --data.test_on"
            )
        wanted = self.test_folder or tests[0]
        test = next((name for name in folders if file_key(name) == file_key(wanted)), wanted)
        trains = [name for name in folders if set_name(name) == "train"]
        if len(trains) > 1:
            raise UserError(f"{self.root} holds {' and '.join(trains)}, which both mean the training set; move one out of it")
        if missing := [name for name in (*(trains or ["Train"]), test) if name not in folders]:
            raise UserError(
                f"{self.root} lacks the folder {missing[0]}; it must hold Train and Test-A or Test-B with five class folders each"
            )
        return list_folder(self.root, self.class_names, {trains[0]: "train", test: "test"})
