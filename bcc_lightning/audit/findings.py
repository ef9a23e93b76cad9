"""The findings of an audit, as in ``audit.json``."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from bcc_lightning.audit.cells import AuditedCells, split_name
from bcc_lightning.audit.shortcuts import Probe
from bcc_lightning.audit.thresholds import Thresholds

KINDS = ("unreadable", "identical", "near_identical", "label_conflicts", "outliers", "suspect_labels")
NO_SPLIT_NAME = "none"


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        paths: the cell, or both cells of a pair; relative paths, as in the listing.
        splits: set of each; None if it has none.
        labels: class name of each.
        score: how strong the finding is; its meaning depends on the kind, see ``docs/audit.md``.
        note: the reason why a file is unreadable, the orientation of a copy, or the suggested class.
        positions: positions of the cells in the data set; not written.
    """

    paths: list[str]
    splits: list[str | None]
    labels: list[str]
    score: float
    note: str
    positions: tuple[int, ...] = ()


@dataclass(frozen=True)
class AuditReport:
    """All findings of one data set; the attributes named in `KINDS` are the lists of ``audit.json``.

    Attributes:
        unreadable: files that are not a complete image, or are refused.
        identical: byte-identical pairs.
        near_identical: pairs of files that show the same image but differ in their bytes.
        label_conflicts: pairs of the same image with two labels.
        outliers: images unlike all others.
        suspect_labels: cells whose image suggests another class.
        shortcut_probe: probes by name.
        counts: class counts by set, image sizes, colour modes, formats.
        notes: checks that were not possible, and why.
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
        """Return the findings of a kind, one of `KINDS`."""
        found: list[Finding] = getattr(self, kind)
        return found

    def as_json(self) -> dict[str, Any]:
        """Return the report in the form of ``audit.json``."""
        content = asdict(self)
        for kind in KINDS:
            for entry in content[kind]:
                del entry["positions"]
        return content


def finding(cells: AuditedCells, positions: tuple[int, ...], score: float, note: str) -> Finding:
    """Return a finding about one cell, or a pair."""
    return Finding(
        [cells.ids[p] for p in positions],
        [split_name(int(cells.splits[p])) for p in positions],
        [cells.class_names[int(cells.labels[p])] for p in positions],
        round(float(score), 4),
        note,
        positions,
    )


def class_counts(cells: AuditedCells) -> dict[str, dict[str, int]]:
    """Count cells by set and class; cells without a set are counted as ``none``."""
    result = {}
    for code in np.unique(cells.splits).tolist():
        counts = np.bincount(cells.labels[cells.splits == code], minlength=len(cells.class_names))
        result[split_name(code) or NO_SPLIT_NAME] = dict(zip(cells.class_names, counts.tolist(), strict=True))
    return result


@dataclass(frozen=True)
class Excess:
    """A threshold that was exceeded.

    Attributes:
        threshold: name of the field of `Thresholds`.
        found: what was found.
        allowed: what is allowed.
        message: one sentence for the user.
    """

    threshold: str
    found: float
    allowed: float
    message: str


WORDS = {
    "unreadable": "{found:.0f} files cannot be read",
    "copies_across_splits": "{found:.0f} pairs show the same image in two sets",
    "copies_within_split": "{found:.2%} of the cells are copies of another cell",
    "label_conflicts": "{found:.0f} pairs show the same image with two labels",
    "outliers": "{found:.2%} of the images are unlike all others",
    "suspect_labels": "{found:.2%} of the labels do not match the image",
    "border_above_chance": "the border pixels alone predict the class {found:.1%} above chance",
    "file_above_chance": "size and format of the file alone predict the class {found:.1%} above chance",
    "colour_above_chance": "the mean colour alone predicts the class {found:.1%} above chance",
}
PROBES = {"border_pixels": "border_above_chance", "file_properties": "file_above_chance", "mean_colour": "colour_above_chance"}


def exceeded(report: AuditReport, thresholds: Thresholds | None = None) -> list[Excess]:
    """Return which thresholds are exceeded.

    Args:
        report: report of an audit.
        thresholds: by default the values of `Thresholds`.

    Returns:
        One entry per threshold that is exceeded; empty if there is none.
    """
    limits = thresholds or Thresholds()
    result = []
    for name, found in measured(report).items():
        allowed = getattr(limits, name)
        if found > allowed:
            bound = f"{allowed}" if isinstance(allowed, int) else f"{allowed:.1%}"
            result.append(Excess(name, found, allowed, f"{WORDS[name].format(found=found)} (allowed: {bound})"))
    return result


def measured(report: AuditReport) -> dict[str, float]:
    """Measure each quantity that `Thresholds` bounds."""
    copies = report.identical + report.near_identical
    cells = max(int(report.counts.get("cells", 0)), 1)
    result: dict[str, float] = {
        "unreadable": len(report.unreadable),
        "copies_across_splits": sum(across_splits(pair) for pair in copies),
        "copies_within_split": sum(not across_splits(pair) for pair in copies) / cells,
        "label_conflicts": len(report.label_conflicts),
        "outliers": len(report.outliers) / cells,
        "suspect_labels": len(report.suspect_labels) / cells,
    }
    return result | {PROBES[name]: found.interval[0] - found.chance for name, found in report.shortcut_probe.items()}


def across_splits(pair: Finding) -> bool:
    """Check whether the two cells of a pair are in different sets."""
    return len(set(pair.splits)) > 1
