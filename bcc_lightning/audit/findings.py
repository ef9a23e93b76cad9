"""What an audit found, as it stands in ``audit.json``."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from bcc_lightning.argument_types import check_types
from bcc_lightning.audit.cells import AuditedCells, split_name
from bcc_lightning.audit.shortcuts import Probe

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


@dataclass(frozen=True)
class Thresholds:
    """How much of each kind of finding is tolerated; more makes the command end with exit code 1.

    Attributes:
        unreadable: files; none, since a loader stumbles over the first.
        copies_across_splits: pairs of the same picture in two splits; none, since the test part then holds training cells.
        copies_within_split: share of all cells that are copies of another; a few count twice and do little harm.
        label_conflicts: pairs of the same picture under two labels; none, since one of the two is wrong for certain.
        outliers: share of all cells; below it, they are rare accidents of smear or camera.
        suspect_labels: share of all cells; experts disagree on a few of a hundred cells.
        border_above_chance: how far the lower end of the border probe's interval may lie above chance.
        file_above_chance: likewise for the file properties.
        colour_above_chance: likewise for the mean colour, which holds the cell and so tells its class to some degree.
    """

    unreadable: int = 0
    copies_across_splits: int = 0
    copies_within_split: float = 0.01
    label_conflicts: int = 0
    outliers: float = 0.005
    suspect_labels: float = 0.02
    border_above_chance: float = 0.1
    file_above_chance: float = 0.1
    colour_above_chance: float = 0.4

    def __post_init__(self) -> None:
        """Refuse what is no number: nothing would ever lie above it."""
        check_types("thresholds", Thresholds, vars(self))


@dataclass(frozen=True)
class Excess:
    """A threshold that was passed.

    Attributes:
        threshold: name of the field of `Thresholds`.
        found: what was found.
        allowed: what is allowed.
        message: one sentence for a person.
    """

    threshold: str
    found: float
    allowed: float
    message: str


WORDS = {
    "unreadable": "{found:.0f} files cannot be read",
    "copies_across_splits": "{found:.0f} pairs show the same picture in two splits",
    "copies_within_split": "{found:.2%} of the cells are copies of another cell of the same split",
    "label_conflicts": "{found:.0f} pairs show the same picture under two labels",
    "outliers": "{found:.2%} of the pictures are unlike the others",
    "suspect_labels": "{found:.2%} of the labels are contradicted by the picture",
    "border_above_chance": "the border pixels alone predict the class {found:.1%} above chance",
    "file_above_chance": "size and format of the file alone predict the class {found:.1%} above chance",
    "colour_above_chance": "the mean colour alone predicts the class {found:.1%} above chance",
}
PROBES = {"border_pixels": "border_above_chance", "file_properties": "file_above_chance", "mean_colour": "colour_above_chance"}


def exceeded(report: AuditReport, thresholds: Thresholds | None = None) -> list[Excess]:
    """Tell which findings exceed what is tolerated.

    Args:
        report: of an audit.
        thresholds: by default those of `Thresholds`.

    Returns:
        One entry per threshold that was passed; empty where there is no reason to stop.
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
    """Check whether the two cells of a pair lie in different splits."""
    return len(set(pair.splits)) > 1
