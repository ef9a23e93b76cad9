"""Faults of every kind, planted into generated cells: all must be found, and next to nothing else."""

import io
import json
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from bcc_lightning.audit.audit import audit
from bcc_lightning.audit.cells import FileCells
from bcc_lightning.audit.findings import AuditReport, exceeded
from bcc_lightning.audit.page import write_audit
from bcc_lightning.audit.thresholds import Thresholds
from bcc_lightning.datasets.classes import EIGHT_CELL_CLASSES
from bcc_lightning.datasets.listing import list_folder
from bcc_lightning.datasets.smear_painter import paint_cells

pytestmark = pytest.mark.slow

PER_CLASS = 30
SIDE = 80
Picture = npt.NDArray[np.uint8]


def encode(picture: Picture, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def face(ground: int) -> Picture:
    picture = np.full((SIDE, SIDE, 3), (ground, 255 - ground, 40), np.uint8)
    cv2.circle(picture, (40, 40), 30, (255, 220, 0), -1)
    cv2.circle(picture, (30, 32), 5, (0, 0, 0), -1)
    cv2.circle(picture, (50, 32), 5, (0, 0, 0), -1)
    cv2.ellipse(picture, (40, 46), (15, 10), 0, 0, 180, (0, 0, 0), 3)
    return picture


class Planted:
    """A folder of generated cells with known faults."""

    def __init__(self, root: Path) -> None:
        self.root = root
        labels = np.repeat(np.arange(8), PER_CLASS)
        self.images = paint_cells(labels, SIDE, difficulty=0.3, seed=3)
        self.names: list[str] = []
        for number, (image, label) in enumerate(zip(self.images, labels.tolist(), strict=True)):
            split = "test" if number % 5 == 0 else "train"
            self.names.append(f"{split}/{EIGHT_CELL_CLASSES[label]}/zelle_ü_{number}.jpg")
            self.put(self.names[-1], encode(image, 92))
        self.near: dict[frozenset[str], str] = {}
        # Source cell, name, picture, JPEG quality, what the report must say.
        self.copy(1, "encoded", self.images[1], 60, "as it is")
        self.copy(32, "turned", np.rot90(self.images[32]), 90, "turned by 90°")
        self.copy(63, "half_turned", np.rot90(self.images[63], 2), 90, "turned by 180°")
        self.copy(94, "mirrored", self.images[94][:, ::-1], 90, "flipped left to right")
        self.copy(127, "upside_down", self.images[127][::-1], 75, "flipped top to bottom")
        self.copy(158, "small", cv2.resize(self.images[158], (40, 40), interpolation=cv2.INTER_AREA), 90, "as it is")
        self.copy(189, "large", cv2.resize(self.images[189], (160, 160), interpolation=cv2.INTER_CUBIC), 80, "as it is")
        turned_small = cv2.resize(np.rot90(self.images[221], 3)[:, ::-1], (56, 56), interpolation=cv2.INTER_AREA)
        self.copy(221, "all_at_once", turned_small, 75, "flipped left to right and turned by 90°")
        self.identical = frozenset((self.names[5], "train/basophil/zwilling.jpg"))
        self.put("train/basophil/zwilling.jpg", (root / self.names[5]).read_bytes())
        self.conflict = frozenset((self.names[66], "train/neutrophil/anders_benannt.jpg"))
        self.put("train/neutrophil/anders_benannt.jpg", encode(self.images[66], 80))
        self.aliens = {f"train/monocyte/alien_{number}.png" for number in range(12)}
        for number, name in enumerate(sorted(self.aliens)):
            Image.fromarray(face(20 if number < 10 else 200)).save(root / name)
        self.swapped = {self.swap(37, "lymphocyte"), self.swap(121, "platelet"), self.swap(212, "eosinophil")}
        self.cut = self.names[11]
        self.put(self.cut, (root / self.cut).read_bytes()[:900])

    def put(self, name: str, content: bytes) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_bytes(content)

    def copy(self, source: int, name: str, picture: Picture, quality: int, orientation: str) -> None:
        folder = "test" if self.names[source].startswith("train") else "train"
        path = f"{folder}/{self.names[source].split('/')[1]}/{name}.jpg"
        self.put(path, encode(picture, quality))
        self.near[frozenset((self.names[source], path))] = orientation

    def swap(self, source: int, label: str) -> str:
        split, _, name = self.names[source].split("/")
        target = f"{split}/{label}/{name}"
        (self.root / self.names[source]).rename(self.root / target)
        return target


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return Planted(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def report(planted: Planted) -> AuditReport:
    return audit(FileCells(list_folder(planted.root)))


def pairs(report: AuditReport, kind: str) -> set[frozenset[str]]:
    return {frozenset(found.paths) for found in report.findings(kind)}


def names(report: AuditReport, kind: str) -> set[str]:
    return {found.paths[0] for found in report.findings(kind)}


def test_a_truncated_file_is_named_with_its_reason(planted: Planted, report: AuditReport) -> None:
    assert names(report, "unreadable") == {planted.cut}
    assert "cut off" in report.unreadable[0].note


def test_identical_files_are_paired_with_the_first_of_their_group(planted: Planted, report: AuditReport) -> None:
    cells = {pair for pair in pairs(report, "identical") if not pair <= planted.aliens}
    assert cells == {planted.identical}
    # Ten copies of one drawing make nine pairs, two of the other one.
    assert len(report.identical) - 1 == 9 + 1


def test_all_altered_copies_are_found_and_nothing_else(planted: Planted, report: AuditReport) -> None:
    assert pairs(report, "near_identical") == set(planted.near) | {planted.conflict}


def test_the_report_says_how_a_copy_is_turned(planted: Planted, report: AuditReport) -> None:
    rows = {name: row for row, name in enumerate(list_folder(planted.root).paths)}
    for found in report.near_identical:
        expected = planted.near.get(frozenset(found.paths))
        if expected is None:
            continue
        source = next(path for path in found.paths if "zelle" in path)
        # A quarter turn the other way round where the copy stands before its source in the listing.
        if rows[source] > min(rows[path] for path in found.paths):
            expected = {"turned by 90°": "turned by 270°"}.get(expected, expected)
        assert found.note == expected, found.paths


def test_the_same_picture_under_two_labels_is_a_conflict(planted: Planted, report: AuditReport) -> None:
    assert pairs(report, "label_conflicts") == {planted.conflict}
    assert set(report.label_conflicts[0].labels) == {"erythroblast", "neutrophil"}


def test_alien_pictures_are_outliers_with_all_their_copies(planted: Planted, report: AuditReport) -> None:
    assert names(report, "outliers") >= planted.aliens
    assert len(names(report, "outliers") - planted.aliens) <= 2


def test_swapped_labels_are_suspect_and_the_right_class_is_suggested(planted: Planted, report: AuditReport) -> None:
    assert names(report, "suspect_labels") >= planted.swapped
    assert len(report.suspect_labels) <= 2 * len(planted.swapped)
    right = {name: EIGHT_CELL_CLASSES[int(name.rsplit("_", 1)[1][:-4]) // PER_CLASS] for name in planted.swapped}
    for found in report.suspect_labels:
        if found.paths[0] in right:
            assert found.note == f"looks like {right[found.paths[0]]}"


def test_the_json_holds_what_scripts_rely_on(planted: Planted, report: AuditReport, tmp_path: Path) -> None:
    cells = FileCells(list_folder(planted.root))
    write_audit(report, cells, tmp_path / "new" / "out")
    content = json.loads((tmp_path / "new" / "out" / "audit.json").read_text(encoding="utf-8"))
    lists = ("unreadable", "identical", "near_identical", "label_conflicts", "outliers", "suspect_labels")
    for kind in lists:
        length = 1 if kind in ("unreadable", "outliers", "suspect_labels") else 2
        for entry in content[kind]:
            assert set(entry) == {"paths", "splits", "labels", "score", "note"}
            assert [len(entry[key]) for key in ("paths", "splits", "labels")] == [length] * 3
            assert [path.split("/")[:2] for path in entry["paths"]] == [
                list(pair) for pair in zip(entry["splits"], entry["labels"], strict=True)
            ]
    assert set(content["shortcut_probe"]) == {"border_pixels", "mean_colour", "file_properties"}
    assert sum(content["counts"]["image_sizes"].values()) == content["counts"]["cells"] - 1
    page = (tmp_path / "new" / "out" / "audit.html").read_text(encoding="utf-8")
    assert "data:image/jpeg;base64," in page
    assert "http" not in page  # self-contained


def test_thresholds_name_every_reason(report: AuditReport) -> None:
    reasons = {excess.threshold for excess in exceeded(report)}
    assert {"unreadable", "copies_across_splits", "label_conflicts", "outliers"} <= reasons
    generous = Thresholds(1, 100, 1.0, 1, 1.0, 1.0, 1.0, 1.0, 1.0)
    assert exceeded(report, generous) == []


def test_the_findings_do_not_depend_on_the_run(planted: Planted, report: AuditReport) -> None:
    assert audit(FileCells(list_folder(planted.root))).as_json() == report.as_json()
