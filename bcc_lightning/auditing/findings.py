"""What an audit found, as it stands in ``audit.json``."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from bcc_lightning.auditing.cells import AuditedCells, split_name
from bcc_lightning.auditing.shortcuts import Probe

KINDS = ("unreadable", "identical", "near_identical", "label_conflicts", "outliers", "suspect_labels")
NO_SPLIT_NAME = "none"


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        paths: the cell, or both cells of a pair; relative paths, as in the listing.
        splits: split of each, None where it has none.
        labels: class name of each.
        score: how strong the finding is; its meaning depends on the kind, see ``docs/audit.md``.
        note: what else there is to say: why a file is unreadable, how a copy is turned, which class is suggested.
        positions: of the cells in the data set; not written.
    """

    paths: list[str]
    splits: list[str | None]
    labels: list[str]
    score: float
    note: str
    positions: tuple[int, ...] = ()


@dataclass(frozen=True)
class AuditReport:
    """All findings of one data set; the attributes named like `KINDS` are the lists of ``audit.json``.

    Attributes:
        unreadable: files that are no whole image, or are refused.
        identical: byte-identical pairs.
        near_identical: pairs that show the same picture in other bytes.
        label_conflicts: pairs of the same picture under two labels.
        outliers: pictures unlike all others.
        suspect_labels: cells whose picture speaks for another class.
        shortcut_probe: probes by name.
        counts: class counts by split, image sizes, colour modes, formats.
        notes: what could not be checked, and why.
    """

    unreadable: list[Finding] = field(default_factory=list)
    identical: list[Finding] = field(default_factory=list)
    near_identical: list[Finding] = field(default_factory=list)
    label_conflicts: list[Finding] = field(default_factory=list)
    outliers: list[Finding] = field(default_factory=list)
    suspect_labels: list[Finding] = field(default_factory=list)
    shortcut_probe: dict[str, Probe] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def findings(self, kind: str) -> list[Finding]:
        """Give the findings of a kind, one of `KINDS`."""
        found: list[Finding] = getattr(self, kind)
        return found

    def as_json(self) -> dict[str, Any]:
        """Lay the report out as ``audit.json`` holds it."""
        content = asdict(self)
        for kind in KINDS:
            for entry in content[kind]:
                del entry["positions"]
        return content


def finding(cells: AuditedCells, positions: tuple[int, ...], score: float, note: str) -> Finding:
    """Make a finding about one cell, or a pair."""
    return Finding(
        [cells.ids[p] for p in positions],
        [split_name(int(cells.splits[p])) for p in positions],
        [cells.class_names[int(cells.labels[p])] for p in positions],
        round(float(score), 4),
        note,
        positions,
    )


def class_counts(cells: AuditedCells) -> dict[str, dict[str, int]]:
    """Count cells by split and class; cells without a split are counted under ``none``."""
    result = {}
    for code in np.unique(cells.splits).tolist():
        counts = np.bincount(cells.labels[cells.splits == code], minlength=len(cells.class_names))
        result[split_name(code) or NO_SPLIT_NAME] = dict(zip(cells.class_names, counts.tolist(), strict=True))
    return result
