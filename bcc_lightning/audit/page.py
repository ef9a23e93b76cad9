"""``audit.json`` for scripts and ``audit.html`` for readers; the page contains its images, so that it can be forwarded."""

import io
import json
from base64 import b64encode
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

from bcc_lightning.audit.cells import AuditedCells
from bcc_lightning.audit.findings import KINDS, AuditReport, Finding, exceeded
from bcc_lightning.audit.thresholds import Thresholds
from bcc_lightning.datasets.decoding import UnreadableImageError
from bcc_lightning.files import whole_file
from bcc_lightning.pages.rendering import write_html

SHOWN = 48
"""Findings of a kind that the page shows; ``audit.json`` has all."""

SIDE = 112
QUALITY = 85
KEPT_IMAGES = 2048


class Section(NamedTuple):
    """The page's text about a kind of finding: title, meaning, advice."""

    kind: str
    title: str
    meaning: str
    advice: str


SECTIONS = (
    Section(
        "unreadable",
        "Files that cannot be read",
        "The file is not an image, is cut off, or has more than 8 bits per channel.",
        "Copy the file again from its source, or save it with 8 bits; otherwise remove it. Training would stop at it.",
    ),
    Section(
        "label_conflicts",
        "The same image with two labels",
        "Both images show the same cell, but they have different labels. At least one label is wrong.",
        "Decide at the microscope or leave both out: a network cannot learn from contradictory labels.",
    ),
    Section(
        "identical",
        "Identical files",
        "The files are identical byte by byte.",
        "Keep one of each pair. If they are in different sets, the test result is too good: the network was trained on the cell.",
    ),
    Section(
        "near_identical",
        "The same image in another file",
        "The images agree after rotation, flip or resizing; the line below gives the orientation of the right one.",
        "Keep one of each pair, or at least move both into the same set.",
    ),
    Section(
        "outliers",
        "Images unlike all others",
        "Shape and colours differ strongly from most images of this data set. The number is the distance in robust "
        "standard deviations.",
        "Remove images that are not cells. Keep rare, smudged or badly stained cells if the network will meet such cells in use.",
    ),
    Section(
        "suspect_labels",
        "Labels that do not match the image",
        "A classifier that never saw this cell's label is sure of another class. It uses small images only, so this is a hint.",
        "Look again at the original image. The first ones are mostly real mistakes, the later ones mostly rare forms.",
    ),
)

PROBE_TITLES = {
    "border_pixels": "Border pixels alone",
    "mean_colour": "Mean colour alone",
    "file_properties": "Size and format of the file alone",
}


def write_audit(report: AuditReport, cells: AuditedCells, out: Path, thresholds: Thresholds | None = None) -> None:
    """Write ``audit.json`` and ``audit.html``, each whole or not at all.

    Args:
        report: report of the audit.
        cells: the audited cells; those shown are read again.
        out: folder, created if missing.
        thresholds: tolerated amounts; the top of the page lists those that are exceeded.
    """
    out.mkdir(parents=True, exist_ok=True)
    with whole_file(out / "audit.json") as draft:
        text = json.dumps(report.as_json(), indent=1, ensure_ascii=False) + "\n"
        draft.write_text(text, encoding="utf-8", errors="backslashreplace")
    sections = [section_content(section, report.findings(section.kind), cells) for section in SECTIONS]
    write_html(
        out / "audit.html",
        "bcc_lightning.audit",
        "audit.html.jinja",
        report=report,
        sections=sections,
        excess=exceeded(report, thresholds),
        probes=probe_rows(report),
        kinds=KINDS,
    )


def section_content(section: Section, findings: list[Finding], cells: AuditedCells) -> dict[str, Any]:
    """Collect the template's values for a section."""

    @lru_cache(KEPT_IMAGES)
    def embedded(position: int) -> str | None:
        """Embed a cell once, even if it is in several pairs."""
        return data_uri(cells, position)

    shown = one_of_each_pile(findings)[:SHOWN]
    cards = [{"finding": found, "images": [embedded(position) for position in found.positions]} for found in shown]
    return {**section._asdict(), "total": len(findings), "cards": cards, "across": sum(len(set(f.splits)) > 1 for f in findings)}


def one_of_each_pile(findings: list[Finding]) -> list[Finding]:
    """Show one image of each group of copies: 1,600 copies of one drawing say no more than one."""
    seen: set[tuple[float, str]] = set()
    kept = []
    for found in findings:
        key = (found.score, found.note)
        if len(found.paths) > 1 or "copies of" not in found.note or key not in seen:
            kept.append(found)
        seen.add(key)
    return kept


def probe_rows(report: AuditReport) -> list[tuple[str, str, str, str]]:
    """Return the rows of the probe table: view, accuracy, interval, chance."""
    rows = []
    for name, found in report.shortcut_probe.items():
        low, high = found.interval
        accuracy, chance = f"{100 * found.accuracy:.1f} %", f"{100 * found.chance:.1f} %"
        rows.append((PROBE_TITLES[name], accuracy, f"{100 * low:.1f} to {100 * high:.1f} %", chance))
    return rows


def data_uri(cells: AuditedCells, position: int) -> str | None:
    """Return a cell as a small JPEG in a data URI; None if it cannot be read."""
    try:
        image = cells.read(position).image
    except UnreadableImageError:
        return None
    scale = SIDE / max(image.shape[:2])
    height, width = (max(1, round(scale * side)) for side in image.shape[:2])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(small, np.uint8)).save(buffer, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode()}"
