"""The data module of all data sets that are image files."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bcc_lightning.argument_types import check_types
from bcc_lightning.datamodules.base import DATA_DIR_VARIABLE, CellDataModule, refuse_below
from bcc_lightning.datasets.cache import CachedImages, cached_images
from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.datasets.depth import EIGHT, MOST_BITS
from bcc_lightning.datasets.identity import without_copies
from bcc_lightning.datasets.listing import CellListing
from bcc_lightning.datasets.spelling import shown
from bcc_lightning.errors import UserError


class ImageFiles(CellDataModule):
    """Base of data sets whose cells are image files; a data set fills in `list_files`.

    Args:
        crop: side in pixels of the centred square that is cut out of each file first; by default its largest square.
        copies: ``drop`` leaves out byte-identical copies, so that none stands on two sides of a split; of a copy in the test
            part the others are left out. Copies under two labels are left out whole.
        bits: 9 to 16 reads images of more than eight bits per channel: the bits that their camera uses, often 12. Values are
            scaled linearly to eight bits; images of eight bits stay as they are. With 8, deeper images are refused.
        reread: read and decode every file again, rather than trust sizes, times and inodes that are as before.
        cache_dir: folder of decoded images; by default ``$BCC_CACHE_DIR``, else the user's cache folder.
        **base: see `CellDataModule`.
    """

    fewest_classes = 2
    """A network needs two classes to tell apart; a further test set may hold one."""

    def __init__(
        self,
        crop: int | None = None,
        copies: Literal["drop", "keep"] = "drop",
        bits: int = EIGHT,
        reread: bool = False,
        cache_dir: str | None = None,
        **base: Any,  # noqa: ANN401 - the base class's own arguments
    ) -> None:
        check_types("data", ImageFiles, locals())
        super().__init__(**base)
        refuse_below(1, crop=1 if crop is None else crop)
        if not EIGHT <= bits <= MOST_BITS:
            raise UserError(f"--data.bits is {bits}, it must be {EIGHT}, which refuses deeper images, or up to {MOST_BITS}")
        self.crop = crop
        self.copies = copies
        self.bits = bits
        self.reread = reread
        self.cache_dir = cache_dir

    def list_files(self) -> CellListing:
        """List the files of the data set; called once."""
        raise NotImplementedError

    @cached_property
    def listing(self) -> CellListing:
        """The files of the data set."""
        if not self.root.exists():
            raise UserError(
                f"{self.root} does not exist.\nNext step: place the data set there, or name another place with --data.root DIR "
                f"or {DATA_DIR_VARIABLE}=PARENT. To try the program without data: --exp quickstart"
            )
        listing = self.list_files()
        if len(listing.class_names) < self.fewest_classes:
            name, count = shown(listing.class_names[0]), len(listing)
            raise UserError(
                f"{listing.root} holds one class only, {name} ({count:,} images), where at least two are expected: one folder "
                "per class, train/, val/, test/ of them, or a table with two labels. Next step: add images of another class, or "
                "name another root"
            )
        return listing

    @cached_property
    def cached(self) -> CachedImages:
        """The decoded images."""
        return cached_images(self.listing, self.image_size, self.crop, self.cache_dir, self.bits, self.reread)

    @cached_property
    def kept(self) -> npt.NDArray[np.bool_]:
        """(N,) which files are kept: all but copies."""
        if self.copies == "keep":
            return np.ones(len(self.listing), np.bool_)
        return without_copies(self.cached.digests, self.listing.labels, self.listing.splits)

    @property
    def dropped(self) -> list[str]:
        """Paths of the copies that were left out."""
        return list(self.listing.paths.take(np.flatnonzero(~self.kept)))

    @property
    def group_names(self) -> Sequence[str]:
        """Names of the groups of the listing."""
        return self.listing.group_names

    def file_notices(self) -> list[str]:
        """Describe what the listing has merged and left out."""
        return list(self.listing.notices)

    def notices(self) -> list[str]:
        """Add which copies were left out."""
        return [*super().notices(), *self.copy_notices()]

    def copy_notices(self) -> list[str]:
        """Describe which files were left out as copies, in a sentence; none where there are none."""
        if self.kept.all():
            return []
        rows = np.flatnonzero(~self.kept)
        starts = self.cached.digests[:, :8].copy().view(np.uint64).reshape(-1)
        conflicting = int((~np.isin(starts[rows], starts[self.kept])).sum())
        labels = f", {conflicting:,} of them because the same file has two labels" if conflicting else ""
        return [f"Left out: {len(rows):,} byte-identical copies{labels}, e.g. {shown(self.listing.paths[int(rows[0])])}."]

    def read(self) -> CellImages:
        """Open the decoded images; a published split is kept.

        Raises:
            UserError: every image bears two labels.
        """
        if not self.kept.any():
            raise UserError(
                f"{self.root} holds no image that bears one label only, e.g. {shown(self.listing.paths[0])} is in two classes; "
                "remove links and copies between class folders"
            )
        listing = self.listing
        cells = CellImages(
            self.cached.images,
            listing.labels,
            listing.paths,
            splits=listing.splits,
            groups=listing.groups,
            weights=listing.weights,
        )
        return cells if self.kept.all() else cells.part(np.flatnonzero(self.kept))

    @property
    def native_side(self) -> int:
        """Side in pixels of the largest square that is cut out of a file."""
        return self.cached.native_side

    def fingerprint(self) -> str:
        """Hash paths and content of all files, whatever their order."""
        return self.cached.content

    def facts(self) -> dict[str, str]:
        """Add how many files were left out as copies, and the bits of deep images."""
        deep = {"data.bits": str(self.bits)} if self.bits != EIGHT else {}
        return {**super().facts(), "data.copies_left_out": str(int((~self.kept).sum())), **deep}
