"""The image files of a data set, decoded, each image once."""

from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from bcc_lightning.datasets.cache import CachedImages, cached_images
from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.datasets.depth import EIGHT
from bcc_lightning.datasets.framing import Magnification, odd_notice
from bcc_lightning.datasets.identity import hash_array, in_order, without_copies
from bcc_lightning.datasets.listing import CellListing
from bcc_lightning.datasets.spelling import shown
from bcc_lightning.errors import UserError

Copies = Literal["drop", "keep"]


class ImageSet:
    """Image files that are decoded when they are first needed.

    Args:
        listing: the files.
        image_size: largest side of a stored image in pixels.
        crop: side in pixels of the centred square that is cut out of each image first; None takes the largest.
        copies: ``drop`` leaves out byte-identical copies; ``keep`` keeps them.
        bits: bits of images with more than eight bits per channel, see `bcc_lightning.datasets.decoding.decode`.
        reread: read and decode every file again.
        cache_dir: folder of decoded images, see `cached_images`.
        enlarge: store `image_size` also where all images are smaller.
        field: side in micrometres of the square that each image shows, where the sizes of pixels are known; by default that of
            the largest square.
    """

    def __init__(
        self,
        listing: CellListing,
        image_size: int,
        crop: int | None = None,
        copies: Copies = "drop",
        bits: int = EIGHT,
        reread: bool = False,
        cache_dir: str | None = None,
        enlarge: bool = False,
        field: float | None = None,
    ) -> None:
        self.listing = listing
        self.image_size = image_size
        self.crop = crop
        self.copies = copies
        self.bits = bits
        self.reread = reread
        self.cache_dir = cache_dir
        self.enlarge = enlarge
        self.field = field

    def read_alike(self, listing: CellListing, image_size: int, enlarge: bool = False) -> "ImageSet":
        """Return other files that are cropped and read in the same way, as `predict` reads them too."""
        same = self.bits, self.reread, self.cache_dir
        return ImageSet(listing, image_size, self.crop, "drop", *same, enlarge, self.cached.field)

    @cached_property
    def cached(self) -> CachedImages:
        """The decoded images."""
        options = self.cache_dir, self.bits, self.reread, self.enlarge, self.magnification
        return cached_images(self.listing, self.image_size, self.crop, *options)

    @property
    def magnification(self) -> Magnification | None:
        """Sizes of the pixels, and the field of view; None where they are unknown."""
        sizes = self.listing.pixel_sizes
        return None if sizes is None else Magnification(sizes, self.field)

    def hashed_pixel_sizes(self) -> str:
        """Hash the sizes of the pixels by path, whatever the order of the files; empty where they are unknown."""
        if self.listing.pixel_sizes is None:
            return ""
        _, order = in_order(self.listing.paths)
        return hash_array(self.listing.pixel_sizes[order])

    @cached_property
    def kept(self) -> npt.NDArray[np.bool_]:
        """(N,) which files are kept: all but copies; of a copy in the test set the others are left out."""
        if self.copies == "keep":
            return np.ones(len(self.listing), np.bool_)
        return without_copies(self.cached.digests, self.listing.labels, self.listing.splits)

    @property
    def dropped(self) -> list[str]:
        """Paths of the copies that were left out."""
        return list(self.listing.paths.take(np.flatnonzero(~self.kept)))

    def notices(self) -> list[str]:
        """Describe which files were left out as copies, and whether the sizes of the pixels can be right."""
        odd = odd_notice(self.cached.odd, len(self.listing), self.cached.field) if self.cached.field else ""
        return [*self.copy_notices(), *([odd] if odd else [])]

    def copy_notices(self) -> list[str]:
        """Describe in a sentence which files were left out as copies; empty if there are none."""
        if self.kept.all():
            return []
        rows = np.flatnonzero(~self.kept)
        starts = self.cached.digests[:, :8].copy().view(np.uint64).reshape(-1)
        conflicting = int((~np.isin(starts[rows], starts[self.kept])).sum())
        labels = f", {conflicting:,} of them because the same file has two labels" if conflicting else ""
        copies = f"{len(rows):,} byte-identical cop{'y' if len(rows) == 1 else 'ies'}"
        return [f"Left out: {copies}{labels}, e.g. {shown(self.listing.paths[int(rows[0])])}."]

    def cells(self) -> CellImages:
        """Open the decoded images, with the split of the listing.

        Raises:
            UserError: every image has two labels.
        """
        listing = self.listing
        if not self.kept.any():
            raise UserError(
                f"{listing.root} holds no image with a single label, e.g. {shown(listing.paths[0])} is in two classes; "
                "remove links and copies between class folders"
            )
        cells = CellImages(
            self.cached.images,
            listing.labels,
            listing.paths,
            splits=listing.splits,
            groups=listing.groups,
            weights=listing.weights,
            laboratories=listing.laboratories,
        )
        return cells if self.kept.all() else cells.part(np.flatnonzero(self.kept))
