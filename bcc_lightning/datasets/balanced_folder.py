"""A training set written to disk with equal classes: each cell once unchanged, cells of rare classes again with augmentation.

Every file is a PNG, the originals too: if they were JPEG and the copies PNG, the file type would give the class away. Originals
have the pixels of the source after `decoding.decode`. A copy depends on seed, source path and copy number only, not on what was
written before or on the number of threads. Files are written atomically; the next call keeps those whose SHA-256 is right.
"""

import csv
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from bcc_lightning.balancing.balance import refuse_absent_classes
from bcc_lightning.datasets.augmented_copies import Copier, Source, sha256
from bcc_lightning.datasets.cache import in_threads, read_content
from bcc_lightning.datasets.decoding import SUFFIXES
from bcc_lightning.datasets.identity import without_copies
from bcc_lightning.datasets.listing import CellListing
from bcc_lightning.datasets.splits import TRAIN
from bcc_lightning.errors import UserError
from bcc_lightning.files import DRAFT, whole_file, write_json
from bcc_lightning.safe_names import refuse_names
from bcc_lightning.transforms.pipelines import pipeline_steps

MANIFEST = "manifest.csv"
COLUMNS = ("file", "source", "class", "copy", "augment", "seed", "sha256")
PARAMETERS = "balanced_folder.json"
"""The arguments that the folder was made with; a later call must use the same. The file marks a folder as balanced."""
JOURNAL = "written.jsonl"
"""Files written so far; the manifest replaces it at the end."""

LAYOUT = 1

LONGEST_NAME = 255
"""Longest folder name that file systems allow, in bytes."""


@dataclass(frozen=True)
class BalancedFolder:
    """The result of `write_balanced_folder`.

    Attributes:
        folder: the folder.
        class_names: names of the C classes.
        before: (C,) cells of each class in the training set.
        after: (C,) files of each class in the folder.
        written: files that this call wrote.
        kept: files that were already there and undamaged.
        left_out: training cells that were left out because the same bytes occur in another set, with another label, or twice.
        foreign: images in the folder that this program did not write; they are left alone, and a run would train on them.
    """

    folder: Path
    class_names: tuple[str, ...]
    before: npt.NDArray[np.int64]
    after: npt.NDArray[np.int64]
    written: int
    kept: int
    left_out: tuple[str, ...]
    foreign: tuple[str, ...]


def write_balanced_folder(listing: CellListing, out: Path, augment: str | dict[str, Any], seed: int) -> BalancedFolder:
    """Write the training set with as many files of each class as the largest class has cells.

    Files are ``out/<class>/<name>_<hash of the source path>_<copy>.png``; copy 000 is the original. Copies are shared evenly
    among the cells of a class. ``out/manifest.csv`` lists the source of each file. Called again with the same arguments, it
    writes missing or damaged files; the result has the same bytes as after a call that was never interrupted.

    Args:
        listing: cells of a data set; only those of the training set are written.
        out: the folder to write, outside the data set.
        augment: augmentation of the copies, see `bcc_lightning.transforms.pipelines.make_pipeline`.
        seed: seed of the augmentation.

    Raises:
        UserError: there is no training set, it lacks a class, a class name cannot name a folder, the augmentation changes nothing
            or makes too few different images, the folder was made with other arguments or is inside the data set, or a file
            cannot be read or written.
    """
    refuse_unsplit(listing)
    refuse_place(listing, out)
    copier = Copier(augment, seed)
    training = training_cells(listing)
    before = np.bincount(listing.labels[training.rows], minlength=len(listing.class_names))
    refuse_absent_classes(before, "oversample", listing.class_names)
    sources = plan(listing, training.rows, before)
    with refuse_bad_disk(out):
        out.mkdir(parents=True, exist_ok=True)
        with FileLock(out / ".lock"):
            agree(out, parameters(sources, training.sha256, augment, seed))
            remove_drafts(out)
            whole = whole_files(out, sources)
            sums = write_missing(listing.root, out, sources, whole, copier)
            write_manifest(out, sources, sums, augment, seed)
            foreign = tuple(foreign_images(out, sources))
    after = np.full(len(before), before.max())
    return BalancedFolder(out, listing.class_names, before, after, len(sums) - len(whole), len(whole), training.left_out, foreign)


def is_balanced_folder(folder: Path) -> bool:
    """Check whether a folder was written by `write_balanced_folder`."""
    return (folder / PARAMETERS).is_file()


def refuse_unsplit(listing: CellListing) -> None:
    """Refuse a listing that cannot be balanced.

    Raises:
        UserError: there is no training set, or a class name cannot name a folder.
    """
    if not (listing.splits == TRAIN).any():
        raise UserError(
            f"{listing.root} has no training set: balancing before splitting would put copies of one cell into several sets. "
            "Split first: lay the images out as train/, val/ and test/, or give a split file"
        )
    refuse_names(listing.class_names)
    for name in listing.class_names:
        if name.startswith(".") or Path(name).name != name or len(name.encode()) > LONGEST_NAME:
            raise UserError(
                f"class '{name}' cannot be the name of a folder; rename it (no /, no leading dot, at most {LONGEST_NAME} "
                "bytes) or balance during training with --data.balance oversample"
            )


def refuse_place(listing: CellListing, out: Path) -> None:
    """Refuse a folder inside the data set, where it would be read as part of it.

    Raises:
        UserError: the folder is inside the data set; the message names both.
    """
    if out.resolve().is_relative_to(listing.root.resolve()):
        raise UserError(f"{out} is inside the data set {listing.root} and would be read as part of it; choose a folder outside")


class TrainingCells(NamedTuple):
    """The training cells that are balanced.

    Attributes:
        rows: (M,) int64, rows of the listing.
        left_out: paths of training cells that are not among them.
        sha256: hash of the content of all M files.
    """

    rows: npt.NDArray[np.int64]
    left_out: tuple[str, ...]
    sha256: str


def training_cells(listing: CellListing) -> TrainingCells:
    """Choose the training cells, without those whose bytes also occur in another set.

    Data modules leave out byte-identical copies when they load, but could not recognise an augmented copy of a test cell.
    """

    def digest(path: str) -> bytes:
        """Hash the content of a file."""
        return hashlib.sha256(read_content(listing.root / path)).digest()

    sums = b"".join(in_threads(digest, listing.paths, "reading", len(listing)))
    digests = np.frombuffer(sums, np.uint8).reshape(-1, 32)
    training, kept = listing.splits == TRAIN, without_copies(digests, listing.labels, listing.splits)
    rows, left_out = np.flatnonzero(training & kept), np.flatnonzero(training & ~kept)
    return TrainingCells(rows, tuple(listing.paths.take(left_out)), sha256(digests[rows].tobytes()))


def plan(listing: CellListing, training: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> list[Source]:
    """Share copies evenly among the training cells of each class; if they do not divide evenly, the first cells get one more.

    Args:
        listing: the cells.
        training: (M,) rows of the training set.
        counts: (C,) training cells of each class.
    """
    sources = []
    for label, class_name in enumerate(listing.class_names):
        rows = training[listing.labels[training] == label]
        copies, more = divmod(int(counts.max() - counts[label]), len(rows))
        sources += [Source(listing.paths[row], class_name, copies + (place < more)) for place, row in enumerate(rows.tolist())]
    return sources


def parameters(sources: list[Source], content: str, augment: str | dict[str, Any], seed: int) -> dict[str, Any]:
    """Collect everything that determines the bytes of the files."""
    listed = "".join(f"{source.class_name}\0{source.path}\0" for source in sources)
    return {
        "layout": LAYOUT,
        "augment": augment,
        "steps": json.loads(json.dumps(pipeline_steps(augment))),
        "seed": seed,
        "sources": sha256(listed.encode()),
        "content": content,
        **{name: version(name) for name in ("albumentations", "pillow")},
    }


def agree(out: Path, wanted: dict[str, Any]) -> None:
    """Record the parameters of a new folder; refuse different ones for an existing folder.

    Raises:
        UserError: parameters differ; the message names them.
    """
    file = out / PARAMETERS
    if not file.is_file():
        write_json(file, wanted)
        return
    noted = json.loads(file.read_text(encoding="utf-8"))
    differing = [f"{key} {noted.get(key)!s:.60}, now {wanted[key]!s:.60}" for key in wanted if noted.get(key) != wanted[key]]
    if differing:
        raise UserError(f"{out} was made with other arguments: {'; '.join(differing)}. Choose another folder, or remove this one")


def remove_drafts(out: Path) -> None:
    """Remove the unfinished files of a killed call; the lock guarantees that no other call is writing."""
    for draft in out.glob(f"*/{DRAFT}*.png"):
        draft.unlink()


def whole_files(out: Path, sources: list[Source]) -> dict[str, str]:
    """Return the SHA-256 of each file that is undamaged."""
    noted: dict[str, str] = {}
    if (out / MANIFEST).is_file():
        with (out / MANIFEST).open(newline="", encoding="utf-8", errors="replace") as stream:
            noted = {row.get("file") or "": row.get("sha256") or "" for row in csv.DictReader(stream)}
    noted |= dict(read_journal(out))
    planned = [file for source in sources for file in source.files() if file in noted and (out / file).is_file()]
    sums = in_threads(lambda file: sha256((out / file).read_bytes()), planned, "checking", len(planned))
    return {file: found for file, found in zip(planned, sums, strict=True) if found == noted[file]}


def read_journal(out: Path) -> Iterator[tuple[str, str]]:
    """Read which files were written; a truncated line is ignored."""
    if not (out / JOURNAL).is_file():
        return
    for line in (out / JOURNAL).read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            file, found = json.loads(line)
            yield file, found
        except (ValueError, TypeError):
            continue


def write_missing(root: Path, out: Path, sources: list[Source], whole: dict[str, str], copier: Copier) -> dict[str, str]:
    """Write the missing or damaged files and add each to the journal; return the SHA-256 of all files."""
    sums = dict(whole)
    missing = [source for source in sources if any(file not in whole for file in source.files())]
    write = partial(copier.write, root, out, whole=whole)
    with (out / JOURNAL).open("a", encoding="utf-8") as journal:
        for written in in_threads(write, missing, "balancing", len(missing)):
            # The previous line may be truncated: begin a new one.
            journal.write("".join(f"\n{json.dumps(pair)}" for pair in written.items()))
            journal.flush()
            sums |= written
    return sums


def write_manifest(out: Path, sources: list[Source], sums: dict[str, str], augment: str | dict[str, Any], seed: int) -> None:
    """Write the source of each file, in the order of the listing, and remove the journal."""
    name = augment if isinstance(augment, str) else json.dumps(augment)
    with whole_file(out / MANIFEST) as draft, draft.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(COLUMNS)
        for source in sources:
            for copy, file in enumerate(source.files()):
                table.writerow((file, source.path, source.class_name, copy, name if copy else "", seed, sums[file]))
    (out / JOURNAL).unlink(missing_ok=True)


def foreign_images(out: Path, sources: list[Source]) -> list[str]:
    """List the images in the folder that this program did not write."""
    planned = {file for source in sources for file in source.files()}
    images = (file for file in out.rglob("[!.]*") if file.suffix.lower() in SUFFIXES)
    return sorted({file.relative_to(out).as_posix() for file in images} - planned)


@contextmanager
def refuse_bad_disk(out: Path) -> Iterator[None]:
    """Turn the error of a full or read-only disk into one that names the folder and the next step."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{out} cannot be written ({error.strerror or error}); free space and start the same command again, which continues "
            "where it stopped, or choose another folder"
        ) from error
