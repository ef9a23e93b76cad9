"""The audit: reads each cell once, then looks for faults of the data set."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bcc_lightning.audit.appearance import FEWEST, Features, describe, oddness
from bcc_lightning.audit.cells import AuditedCells, Scan, scan
from bcc_lightning.audit.duplicates import Copies, Copy, find_copies
from bcc_lightning.audit.findings import AuditReport, Finding, class_counts, finding
from bcc_lightning.audit.labels import FEWEST as FEWEST_OF_CLASS
from bcc_lightning.audit.labels import leave_one_out, predict, suspicion
from bcc_lightning.audit.orientation import ORIENTATIONS
from bcc_lightning.audit.shortcuts import probe_shortcuts

ODD = 4.2
"""Oddness of an outlier: about ten of 17,092 real cells exceed it, and nearly all drawings and photographs."""

SUSPECT = 0.62
"""Margin of a suspect label as a share of the typical margin of the data set. On PBC with 20 of 17,092 labels swapped, about half
of the findings are true; if more labels are wrong, most are."""

Positions = npt.NDArray[np.int64]


def audit(cells: AuditedCells, checkpoint: Path | None = None, odd: float = ODD, suspect: float = SUSPECT) -> AuditReport:
    """Audit a data set.

    Args:
        cells: the data set.
        checkpoint: a trained module with the same classes, whose predictions then replace those from cheap features.
        odd: robust standard deviations above which an image is an outlier.
        suspect: margin by which another class must be more probable than the label, as a share of the margin by which labels that
            agree with the image typically lead.

    Raises:
        UserError: the checkpoint cannot be read or was trained on other classes.
    """
    report = AuditReport()
    scanned = scan(cells)
    report.counts.update(counts(cells, scanned))
    report.unreadable.extend(finding(cells, (p,), 1.0, reason) for p, reason in sorted(scanned.reasons.items()))
    copies = find_copies(scanned.thumbnails, scanned.digests, scanned.readable)
    add_copies(report, cells, copies)
    unique = np.intersect1d(copies.unique, scanned.readable)
    features = describe(scanned.thumbnails[unique]) if len(unique) else np.zeros((0, 1), np.float32)
    odd_score = oddness(features)
    if len(unique) < FEWEST:
        report.notes.append(f"Outliers were not searched: {len(unique)} different images are fewer than the {FEWEST} needed.")
    is_odd = odd_score > odd
    add_outliers(report, cells, copies, dict(zip(unique[is_odd].tolist(), odd_score[is_odd].tolist(), strict=True)))
    add_suspects(report, cells, (unique, features, np.flatnonzero(~is_odd)), checkpoint, suspect)
    report.shortcut_probe.update(probe_shortcuts(scanned, cells.labels, unique[~is_odd]))
    if not report.shortcut_probe:
        report.notes.append("Shortcuts were not probed: fewer than two classes have enough cells.")
    return report


def counts(cells: AuditedCells, scanned: Scan) -> dict[str, Any]:
    """Count cells, classes by split, image sizes, colour modes and formats."""
    facts = [fact for fact in scanned.facts if fact]
    tables = {
        "image_sizes": Counter(f"{fact.width}x{fact.height}" for fact in facts),
        "colour_modes": Counter(fact.mode for fact in facts),
        "formats": Counter(fact.format for fact in facts),
    }
    ordered = {name: dict(table.most_common()) for name, table in tables.items()}
    return {"cells": len(cells.labels), "classes": class_counts(cells), **ordered}


def add_copies(report: AuditReport, cells: AuditedCells, copies: Copies) -> None:
    """Report copies, and copies with contradicting labels."""

    def pair(copy: Copy, note: str) -> Finding:
        """Return the finding for a pair."""
        return finding(cells, (copy.original, copy.copy), min(copy.score, 1.0), note)

    report.identical.extend(pair(copy, "identical files") for copy in copies.identical)
    report.near_identical.extend(pair(copy, ORIENTATIONS[copy.orientation]) for copy in copies.near)
    scores = {copy.copy: copy.score for copy in copies.near}
    first = {copy.copy: copy.original for copy in copies.identical}
    for position in np.flatnonzero(copies.group != np.arange(len(copies.group))).tolist():
        leader = int(copies.group[position])
        if cells.labels[position] != cells.labels[leader]:
            score = scores.get(first.get(position, position), 1.0)
            report.label_conflicts.append(pair(Copy(leader, position, score), "the same image with two labels"))


def add_outliers(report: AuditReport, cells: AuditedCells, copies: Copies, scores: dict[int, float]) -> None:
    """Report outliers, the oddest first, each followed by its copies."""
    members: dict[int, list[int]] = {leader: [] for leader in scores}
    for position, leader in enumerate(copies.group.tolist()):
        if leader in members:
            members[leader].append(position)
    for leader in sorted(scores, key=lambda one: -scores[one]):
        number = len(members[leader])
        note = f"{number} copies of one image" if number > 1 else "unlike the others"
        report.outliers.extend(finding(cells, (position,), scores[leader], note) for position in members[leader])


def add_suspects(
    report: AuditReport,
    cells: AuditedCells,
    described: tuple[Positions, Features, Positions],
    checkpoint: Path | None,
    margin: float,
) -> None:
    """Report suspect labels, the most suspect first.

    Args:
        report: takes the findings.
        cells: the data set.
        described: positions of the described cells, their features, and the rows of those that are to be judged.
        checkpoint: labels are compared with its predictions; by default with predictions from the features of the other cells.
        margin: margin of a suspect label, as a share of the typical margin.
    """
    positions, features, rows = described
    if checkpoint is None:
        rows = judged(report, cells, positions, rows)
    labels = cells.labels[positions[rows]]
    if not len(rows):
        return
    probability = predict(cells, positions[rows], checkpoint) if checkpoint else leave_one_out(features, rows, labels)
    found = suspicion(probability, labels)
    for place in np.argsort(-found.score, kind="stable").tolist():
        if found.score[place] < margin * found.typical:
            break
        name = cells.class_names[int(found.suggested[place])]
        position = int(positions[rows[place]])
        report.suspect_labels.append(finding(cells, (position,), float(found.score[place]), f"looks like {name}"))


def judged(report: AuditReport, cells: AuditedCells, positions: Positions, rows: Positions) -> Positions:
    """Leave out classes with too few cells and add a note; empty if fewer than two classes are left."""
    labels = cells.labels[positions[rows]]
    enough = np.bincount(labels, minlength=len(cells.class_names)) >= FEWEST_OF_CLASS
    few = [name for name, is_enough in zip(cells.class_names, enough, strict=True) if not is_enough]
    if few:
        report.notes.append(f"Labels of {', '.join(few)} were not checked: fewer than {FEWEST_OF_CLASS} different images.")
    if enough.sum() <= 1:
        report.notes.append("Labels were not checked: fewer than two classes have enough cells.")
        return np.zeros(0, np.int64)
    return rows[enough[labels]]
