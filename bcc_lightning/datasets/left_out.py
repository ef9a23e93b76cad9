"""What a data set leaves out, counted by kind with one example of each, so that nothing is dropped silently."""

import os
from collections import Counter
from collections.abc import Iterator
from typing import Literal

from bcc_lightning.datasets.spelling import file_key, letters, shown

Kind = Literal[
    "hidden",
    "thumbnail",
    "mask",
    "other",
    "microscope",
    "no_ending",
    "loose",
    "unwanted",
    "no_images",
    "special",
    "loop",
    "unnamed",
    "unchosen",
]

SENTENCES: dict[Kind, tuple[str, str]] = {
    "hidden": ("hidden or system file or folder", "hidden or system files and folders"),
    "thumbnail": ("thumbnail", "thumbnails"),
    "mask": ("segmentation mask", "segmentation masks"),
    "other": ("file without an image extension", "files without an image extension"),
    "microscope": ("file in a microscope's or camera's own format", "files in a microscope's or camera's own format"),
    "no_ending": ("file without an ending", "files without an ending"),
    "loose": ("image outside class folders", "images outside class folders"),
    "unwanted": ("image of a class that was not requested", "images of classes that were not requested"),
    "no_images": ("folder without images", "folders without images"),
    "special": ("entry that is not a regular file", "entries that are not regular files"),
    "loop": ("link to a folder that contains it", "links to a folder that contains them"),
    "unnamed": ("image that the table does not name", "images that the table does not name"),
    "unchosen": ("image of a set that was not requested", "images of sets that were not requested"),
}
"""Names of the kinds, singular and plural."""

MICROSCOPE = frozenset(
    f".{ending}"
    for ending in (
        *(
            "arw",
            "bif",
            "cr2",
            "cr3",
            "czi",
            "dcm",
            "dicom",
            "dng",
            "dv",
            "heic",
            "heif",
            "ims",
            "lif",
            "lsm",
            "mrc",
            "mrxs",
            "nd2",
        ),
        *("ndpi", "nef", "oib", "oif", "oir", "orf", "qptiff", "raf", "raw", "rw2", "scn", "sld", "stk", "svs", "svslide", "vms"),
        *("vsi", "zvi"),
    )
)
"""Endings of image formats that are not read here."""

SYSTEM_FOLDERS = frozenset(
    {"#recycle", "#snapshot", "#trash", "$recycle.bin", "@recently-snapshot", "@recycle", "@sharebin", "@snapshot", "@tmp"}
    | {"__macosx", "__pycache__", "found.000", "lost+found", "network trash folder", "recycler"}
    | {"system volume information", "temporary items"}
)
SYSTEM_FILES = frozenset({"desktop.ini", "ehthumbs.db", "ehthumbs_vista.db", "icon", "thumbs.db"})
SYSTEM_SUFFIX = ":zone.identifier"
"""Ending of the files in which Windows records where another file was downloaded from."""

THUMBNAIL_FOLDERS = frozenset({"eadir", "ipynbcheckpoints", "thumb", "thumbs", "thumbnail", "thumbnails"})
"""Folder names, letters only, of folders that hold small or older copies of the images beside them."""

THUMBNAIL_FILES = ("synophoto_", "synofile_", "synovideo_")
"""Beginning of the names of thumbnails on a Synology system."""

THUMBNAIL_MARKS = tuple(f"{mark}{word}" for mark in "_-." for word in ("thumb", "thumbnail"))
"""Ending of the stem of a thumbnail beside its image."""


class LeftOut:
    """Counts the entries that are left out.

    Attributes:
        counts: number of each kind.
        examples: the first of each kind, relative to the root.
        endings: files of kind ``other`` or ``microscope`` by ending.
        twins: number of images that are called like another one but for the ending; they are read.
        twin: the first of these.
    """

    def __init__(self) -> None:
        self.counts: Counter[Kind] = Counter()
        self.examples: dict[Kind, str] = {}
        self.endings: dict[Kind, Counter[str]] = {"other": Counter(), "microscope": Counter()}
        self.twins, self.twin = 0, ""

    def add(self, kind: Kind, path: str, count: int = 1) -> None:
        """Count entries that are left out.

        Args:
            kind: their kind.
            path: path of the file, or of one of them, relative to the root.
            count: their number.
        """
        if count:
            self.counts[kind] += count
            self.examples.setdefault(kind, path)

    def add_twins(self, path: str, count: int) -> None:
        """Count images that are called like another one but for the ending; arguments as in `add`."""
        self.twins, self.twin = self.twins + count, self.twin or (path if count else "")

    def add_file(self, path: str) -> None:
        """Count a file without an image extension."""
        ending = os.path.splitext(path)[1].strip().lower()
        kind: Kind = "no_ending" if len(ending) <= 1 else "microscope" if ending in MICROSCOPE else "other"
        self.add(kind, path)
        if kind in self.endings:
            self.endings[kind][ending] += 1

    def notices(self) -> Iterator[str]:
        """Describe what was left out, one sentence for each kind."""
        for kind, (one, several) in SENTENCES.items():
            if not (count := self.counts[kind]):
                continue
            endings = ", ".join(f"{number:,} {shown(end)}" for end, number in self.endings.get(kind, Counter()).most_common(5))
            which = f" ({endings})" if endings else ""
            advice = " To use these images, export them as PNG or TIFF." if kind == "microscope" else ""
            yield f"Left out: {count:,} {one if count == 1 else several}{which}, e.g. {shown(self.examples[kind])}.{advice}"
        if self.twins:
            yield (
                f"{self.twins:,} images are called like another one but for the ending, e.g. {shown(self.twin)}: if they show "
                "the same cells, each is counted twice. Move one of each pair away."
            )


def is_thumbnail_folder(name: str) -> bool:
    """Check whether a folder holds thumbnails, or older copies, of the images beside it."""
    return letters(name) in THUMBNAIL_FOLDERS


def is_system_folder(name: str) -> bool:
    """Check whether a folder is hidden, or kept by an operating system or a network drive."""
    return name.startswith(".") or file_key(name) in SYSTEM_FOLDERS


def is_system_file(name: str) -> bool:
    """Check whether a file is hidden, or kept by an operating system or an office program."""
    return name.startswith((".", "~$")) or file_key(name) in SYSTEM_FILES or name.lower().endswith(SYSTEM_SUFFIX)


def is_thumbnail(name: str, beside: frozenset[str] | set[str]) -> bool:
    """Check whether a file is the thumbnail of another one.

    Args:
        name: of the file.
        beside: stems of the files in its folder, in lower case.
    """
    stem = os.path.splitext(name)[0].lower()
    if stem.startswith(THUMBNAIL_FILES):
        return True
    ends = (stem.removesuffix(mark) for mark in THUMBNAIL_MARKS if stem.endswith(mark))
    begins = (
        stem.removeprefix(mark) for mark in ("thumb_", "thumb-", "thumbnail_", "thumbnail-", "tn_") if stem.startswith(mark)
    )
    return any(rest in beside for rest in (*ends, *begins))
