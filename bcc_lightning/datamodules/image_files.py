"""The data module of all data sets that are image files."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from bcc_lightning.argument_types import check_pixel_size, check_types
from bcc_lightning.datamodules.base import CellDataModule, refuse_below
from bcc_lightning.datasets.cache import CachedImages
from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.datasets.depth import EIGHT, MOST_BITS
from bcc_lightning.datasets.external import TrainedOn
from bcc_lightning.datasets.framing import FIELD_OF_VIEW
from bcc_lightning.datasets.image_set import Copies, ImageSet
from bcc_lightning.datasets.laboratories import leave_out
from bcc_lightning.datasets.listing import NO_SPLIT, CellListing, with_pixel_size
from bcc_lightning.datasets.places import refuse_missing_folder
from bcc_lightning.datasets.spelling import LONG_NAMES, shown
from bcc_lightning.errors import UserError

NAMED = 10
"""Laboratories that a run names."""


class ImageFiles(CellDataModule):
    """Base of data sets whose cells are image files; a data set fills in `list_files`.

    Args:
        crop: side in pixels of the centred square that is cut out of each file first; by default its largest square.
        copies: ``drop`` leaves out byte-identical copies, so that none is in two sets: the copy in the test set is kept. Copies
            with two labels are all left out.
        pixel_size: micrometres that a pixel of the files covers. All images then show the same field of view, that of the
            largest square or of `crop`. A table can have it for each image, in a column of this name.
        test_pixel_size: the same of sets of `test_on` by name, such as ``{clinic: 0.05}``, where their tables do not tell it.
        bits: 9 to 16 reads images of more than eight bits per channel: the bits that their camera uses, often 12. Values are
            scaled linearly to eight bits; images of eight bits stay as they are. With 8, deeper images are refused.
        reread: read and decode every file again, even if its size, time and inode are as before.
        leave_out: laboratory whose cells are the test set, while those of the others train and validate.
        cache_dir: folder of decoded images; by default ``$BCC_CACHE_DIR``, else the user's cache folder.
        **base: see `CellDataModule`.
    """

    def __init__(
        self,
        crop: int | None = None,
        copies: Copies = "drop",
        pixel_size: float | None = None,
        test_pixel_size: dict[str, float] | None = None,
        bits: int = EIGHT,
        reread: bool = False,
        leave_out: str | None = None,
        cache_dir: str | None = None,
        **base: Any,  # noqa: ANN401 - the base class's own arguments
    ) -> None:
        check_types("data", ImageFiles, locals())
        super().__init__(**base)
        refuse_below(1, crop=1 if crop is None else crop)
        if not EIGHT <= bits <= MOST_BITS:
            raise UserError(f"--data.bits is {bits}, it must be {EIGHT}, which refuses deeper images, or up to {MOST_BITS}")
        if pixel_size is not None:
            check_pixel_size(pixel_size, "--data.pixel_size")
        self.pixel_size = pixel_size
        self.test_pixel_size = test_pixel_size or {}
        if self.test_pixel_size and not self.test_on and not (self.few_shot and self.few_shot.place):
            raise UserError(f"--data.test_pixel_size names {', '.join(self.test_pixel_size)}, but --data.test_on names no set")
        for name, size in self.test_pixel_size.items():
            check_pixel_size(size, f"--data.test_pixel_size of {name}")
        self.crop = crop
        self.copies = copies
        self.bits = bits
        self.reread = reread
        if leave_out is not None:
            if self.split_file:
                raise UserError("--data.leave_out and --data.split_file both say which cells are tested; leave one of them out")
            self.split_plan = replace(self.split_plan, left_out=True)
        self.leave_out = leave_out
        self.cache_dir = cache_dir

    def list_files(self) -> CellListing:
        """List the files of the data set; called once."""
        raise NotImplementedError

    @cached_property
    def listing(self) -> CellListing:
        """The files of the data set."""
        refuse_missing_folder(self.root)
        listing = with_pixel_size(self.list_files(), self.pixel_size, "--data.pixel_size")
        if self.leave_out is not None:
            listing = leave_out(listing, self.leave_out)
        if len(listing.class_names) == 1:
            name, count = shown(listing.class_names[0]), len(listing)
            raise UserError(
                f"{listing.root} holds one class only, {name} ({count:,} images), where at least two are expected: one folder "
                "per class, train/, val/, test/ of them, or a table with two labels. Next step: add images of another class, or "
                "name another root"
            )
        return listing

    @cached_property
    def image_set(self) -> ImageSet:
        """The files, decoded when they are first needed."""
        options = {name: getattr(self, name) for name in ("crop", "copies", "bits", "reread", "cache_dir")}
        return ImageSet(self.listing, self.image_size, **options)

    @property
    def cached(self) -> CachedImages:
        """The decoded images."""
        return self.image_set.cached

    @property
    def kept(self) -> npt.NDArray[np.bool_]:
        """(N,) which files are kept: all but copies."""
        return self.image_set.kept

    def divided_listing(self) -> CellListing:
        """List the files with the split that training would use; copies that it leaves out are in no set."""
        codes = np.full(len(self.listing), NO_SPLIT, np.int8)
        codes[np.flatnonzero(self.kept)] = self.codes
        return replace(self.listing, splits=codes)

    @property
    def dropped(self) -> list[str]:
        """Paths of the copies that were left out."""
        return self.image_set.dropped

    @property
    def group_names(self) -> Sequence[str]:
        """Names of the groups of the listing."""
        return self.listing.group_names

    def file_notices(self) -> list[str]:
        """Describe what the listing has merged and left out."""
        return list(self.listing.notices)

    def notices(self) -> list[str]:
        """Add which copies were left out."""
        return [*super().notices(), *self.image_set.notices()]

    def as_trained_on(self) -> TrainedOn:
        """Add the files, which further test sets must not share."""
        return replace(super().as_trained_on(), images=self.image_set, pixel_sizes=self.test_pixel_size)

    def read(self) -> CellImages:
        """Open the decoded images; a published split is kept."""
        return self.image_set.cells()

    @property
    def native_side(self) -> int:
        """Side in pixels of the largest square that is cut out of a file."""
        return self.cached.native_side

    def fingerprint(self) -> str:
        """Hash paths and content of all files, whatever their order."""
        return self.cached.content

    def identity(self) -> dict[str, str]:
        """Add the sizes of the pixels, where they are known."""
        sizes = self.image_set.hashed_pixel_sizes()
        return {**super().identity(), **({"pixel_sizes": sizes} if sizes else {})}

    def facts(self) -> dict[str, str]:
        """Add the laboratories, how many files were left out as copies, the bits of deep images, and the field of view."""
        deep = {"data.bits": str(self.bits)} if self.bits != EIGHT else {}
        shown_field = {FIELD_OF_VIEW: f"{self.cached.field:.10g}"} if self.cached.field else {}
        laboratories = {"data.laboratories": self.laboratory_counts()} if self.listing.laboratory_names else {}
        copies = {"data.copies_left_out": str(int((~self.kept).sum()))}
        return {**super().facts(), **laboratories, **copies, **deep, **shown_field}

    def laboratory_counts(self) -> str:
        """List the laboratories with their cells in each set, the first ones where there are many."""
        names = self.listing.laboratory_names
        counts = {
            LONG_NAMES[name]: np.bincount(cells.laboratories, minlength=len(names))
            for name, cells in self.splits.items()
            if cells.laboratories is not None  # the few cells of another laboratory have none
        }
        described = [
            f"{shown(name)} ({', '.join(f'{count[number]:,} {part}' for part, count in counts.items() if count[number])})"
            for number, name in enumerate(names[:NAMED])
        ]
        return ", ".join(described + ([f"{len(names) - NAMED} more"] if len(names) > NAMED else []))
