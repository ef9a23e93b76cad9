"""Faults planted into real cells, and how many the audit finds: found, missed, falsely reported, seconds, memory.

The source folder is linked, not changed. Genuine faults of the source, which the audit reports without planting, are counted
separately; the audit report of the source shows them.

    python benchmarks/audit_planted.py --root data/pbc_96 --encoded 100 --turned 50 --swapped 20 --aliens 200
"""

import argparse
import io
import json
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from bcc_lightning.audit.audit import audit
from bcc_lightning.audit.cells import FileCells
from bcc_lightning.audit.page import write_audit
from bcc_lightning.datasets.listing import list_folder

Pixels = npt.NDArray[np.uint8]
ALIEN_SIDE = 96


class Planter:
    """Copies a data set, plants faults and records them.

    Args:
        source: folder of the clean data set.
        target: folder to create, on the same disk so that files can be linked.
        keep: number of cells to keep, drawn at random; 0 keeps all.
        seed: seed of all choices.
    """

    def __init__(self, source: Path, target: Path, keep: int, seed: int) -> None:
        self.root, self.rng = target, np.random.default_rng(seed)
        paths = list(list_folder(source).paths)
        chosen = self.rng.choice(len(paths), keep, replace=False) if keep else range(len(paths))
        self.paths = [paths[position] for position in chosen]
        for path in self.paths:
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(source / path, target / path)
            except OSError:
                shutil.copyfile(source / path, target / path)
        self.free = list(self.rng.permutation(self.paths))
        self.folders = sorted({str(Path(path).parent) for path in self.paths})
        self.pairs: dict[str, set[frozenset[str]]] = {}
        self.singles: dict[str, set[str]] = {"outliers": set(), "suspect_labels": set(), "unreadable": set()}

    def copies(self, kind: str, count: int) -> None:
        """Plant altered copies of random cells into random sets of the same class."""
        planted = self.pairs.setdefault(kind, set())
        for number in range(count):
            source = self.free.pop()
            folders = [folder for folder in self.folders if Path(folder).name == Path(source).parent.name]
            copy = f"{self.rng.choice(folders)}/{kind}_{number}.jpg"
            with Image.open(self.root / source) as image:
                self.save(self.alter(np.asarray(image.convert("RGB")), kind), copy)
            planted.add(frozenset((source, copy)))

    def alter(self, cell: Pixels, kind: str) -> Pixels:
        """Rotate, flip or resize a cell; saving re-encodes it."""
        if kind == "turned":
            return np.rot90(cell, int(self.rng.integers(1, 4)))
        if kind == "flipped":
            return cell[:, ::-1] if self.rng.integers(2) else cell[::-1]
        if kind == "resized":
            scale = self.rng.uniform(0.5, 2.0)
            return np.asarray(cv2.resize(cell, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR), np.uint8)
        return cell

    def save(self, image: Pixels, path: str) -> None:
        """Write a JPEG of random quality, 60 to 95."""
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(image)).save(buffer, "JPEG", quality=int(self.rng.integers(60, 96)))
        (self.root / path).write_bytes(buffer.getvalue())

    def swap(self, count: int) -> None:
        """Move cells into the folder of another class."""
        for _ in range(count):
            source = self.free.pop()
            folder = Path(source).parent
            others = [f for f in self.folders if Path(f).parent == folder.parent and f != str(folder)]
            target = f"{self.rng.choice(others)}/{Path(source).name}"
            (self.root / source).rename(self.root / target)
            self.singles["suspect_labels"].add(target)

    def aliens(self, count: int) -> None:
        """Plant images that are not cells: half are copies of one drawing, the others differ."""
        one = draw_alien(self.rng, 0)
        for number in range(count):
            path = f"{self.rng.choice(self.folders)}/alien_{number}.png"
            Image.fromarray(one if number < count // 2 else draw_alien(self.rng, number)).save(self.root / path)
            self.singles["outliers"].add(path)

    def cut(self, count: int) -> None:
        """Cut the end off some files."""
        for _ in range(count):
            path = self.free.pop()
            content = (self.root / path).read_bytes()
            (self.root / path).unlink()
            (self.root / path).write_bytes(content[: int(len(content) * self.rng.uniform(0.05, 0.95))])
            self.singles["unreadable"].add(path)


def face(image: Pixels, rng: np.random.Generator) -> None:
    """Draw a smiling face."""
    cv2.circle(image, (48, 48), int(rng.integers(25, 42)), (255, 220, 0), -1)
    for eye in (35, 61):
        cv2.circle(image, (eye, 40), 5, (0, 0, 0), -1)
    cv2.ellipse(image, (48, 55), (16, 10), 0, 0, 180, (0, 0, 0), 3)


def checkerboard(image: Pixels, rng: np.random.Generator) -> None:
    """Draw a checkerboard of random colour and field size."""
    fields = np.indices(image.shape[:2]).sum(axis=0) // int(rng.integers(4, 16)) % 2
    image[...] = fields[..., None] * rng.integers(100, 256, 3)


def noise(image: Pixels, rng: np.random.Generator) -> None:
    """Draw noise."""
    image[...] = rng.integers(0, 256, image.shape)


def text(image: Pixels, rng: np.random.Generator) -> None:
    """Write a number."""
    cv2.putText(image, f"No {rng.integers(100)}", (4, 55), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (255, 255, 255), 2)


def gradient(image: Pixels, rng: np.random.Generator) -> None:
    """Draw a ramp from black to a colour."""
    image[...] = np.linspace(0, 1, len(image))[:, None, None] * rng.integers(100, 256, 3)


def rectangles(image: Pixels, rng: np.random.Generator) -> None:
    """Draw eight rectangles."""
    for _ in range(8):
        corners = rng.integers(0, len(image), (2, 2)).tolist()
        cv2.rectangle(image, corners[0], corners[1], rng.integers(0, 256, 3).tolist(), -1)


def even_area(image: Pixels, rng: np.random.Generator) -> None:
    """Leave the image in one colour."""


DRAWINGS = (face, checkerboard, noise, text, gradient, rectangles, even_area)


def draw_alien(rng: np.random.Generator, number: int) -> Pixels:
    """Draw one of `DRAWINGS` on a background of random colour."""
    image = np.full((ALIEN_SIDE, ALIEN_SIDE, 3), rng.integers(0, 256, 3), np.uint8)
    DRAWINGS[number % len(DRAWINGS)](image, rng)
    return image


def main() -> None:
    """Plant, audit, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="folder of class folders, or of train/ val/ test/ with them")
    parser.add_argument("--keep", type=int, default=0, help="cells of the source to keep; 0 keeps all")
    for name, count in {
        "encoded": 100,
        "turned": 50,
        "flipped": 50,
        "resized": 50,
        "swapped": 20,
        "aliens": 200,
        "cut": 5,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder that keeps the report")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        planter = Planter(arguments.root, Path(folder) / "cells", arguments.keep, arguments.seed)
        genuine = genuine_findings(planter.root)
        for kind in ("encoded", "turned", "flipped", "resized"):
            planter.copies(kind, getattr(arguments, kind))
        planter.swap(arguments.swapped)
        planter.aliens(arguments.aliens)
        planter.cut(arguments.cut)
        start = time.perf_counter()
        cells = FileCells(list_folder(planter.root))
        out = arguments.out or Path(folder) / "report"
        write_audit(audit(cells), cells, out)
        seconds = time.perf_counter() - start
        print_table(planter, json.loads((out / "audit.json").read_text()), genuine)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{len(cells.labels)} cells, {seconds:.1f} s with the report, peak memory {peak:.2f} GB")


def genuine_findings(root: Path) -> dict[str, set[frozenset[str]]]:
    """Audit the cells before planting; return the sets of reported file names, by kind."""
    content = audit(FileCells(list_folder(root))).as_json()
    return {
        kind: {frozenset(entry["paths"]) for entry in entries}
        for kind, entries in content.items()
        if isinstance(entries, list) and kind != "notes"
    }


def print_table(
    planter: Planter, content: dict[str, list[dict[str, list[str]]]], genuine: dict[str, set[frozenset[str]]]
) -> None:
    """Print planted, found, missed and false findings by kind."""
    print(f"{'kind':16}{'planted':>9}{'found':>9}{'missed':>9}{'genuine':>9}{'false':>9}")
    near = {frozenset(entry["paths"]) for entry in content["near_identical"]}
    for kind, planted in planter.pairs.items():
        print(f"{kind:16}{len(planted):9}{len(planted & near):9}{len(planted - near):9}{'':9}{'':9}")
    all_planted = set().union(*planter.pairs.values())
    aliens = planter.singles["outliers"]
    rest = {pair for pair in near - all_planted if not pair <= aliens}
    known = rest & genuine["near_identical"]
    print(f"{'near, others':16}{'':27}{len(known):9}{len(rest - known):9}")
    for kind, names in planter.singles.items():
        planted = {frozenset((name,)) for name in names}
        reported = {frozenset(entry["paths"]) for entry in content[kind]}
        known = (reported - planted) & genuine[kind]
        false = reported - planted - known
        print(f"{kind:16}{len(planted):9}{len(planted & reported):9}{len(planted - reported):9}{len(known):9}{len(false):9}")


if __name__ == "__main__":
    main()
