"""Pages: whatever classes, files and experiments are called, it is shown and never run."""

from pathlib import Path

import numpy as np
import pytest

from bcc_lightning.audit.audit import audit
from bcc_lightning.audit.cells import ArrayCells
from bcc_lightning.audit.page import write_audit
from bcc_lightning.pages.rendering import page_template
from bcc_lightning.tracking.report import write_report
from bcc_lightning.tracking.run_files import RunFolder, Summary
from tests.datamodules.miniatures import paint

NAMES = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "'&amp; \x1b[31m \udcff")
SHOWN = (
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#34;&gt;&lt;img src=x onerror=alert(2)&gt;",
    r"&#39;&amp;amp; \x1b[31m \udcff",
)


def assert_dead(page: str) -> None:
    """Find markup of a name that a browser would run."""
    for live in ("<script", "<img src=x", "\x1b", "\udcff"):
        assert live not in page


@pytest.mark.parametrize("place", ["experiment", "failure", "data", "member", "fold", "configuration"])
def test_the_report_escapes(tmp_path: Path, place: str) -> None:
    summary = Summary("r1", "x", "FINISHED", classes=list(NAMES), confusion=np.eye(3, dtype=int).tolist())
    summary.metrics = {"test/accuracy": 1.0, "test/accuracy_sd": 0.1, "test/most_frequent": 1 / 3}
    summary.intervals = {"test/accuracy": (0.4, 1.0)}
    for row, name in enumerate(NAMES):
        if place == "experiment":
            summary.experiment += name
        elif place == "failure":
            summary.failure = (summary.failure or "") + name
        elif place == "data":
            summary.data[name] = name
        elif place == "member":
            summary.members.append({"name": name, "title": name, "weight": 0.5, "test/accuracy": 0.5, "most_frequent": 0.5})
        elif place == "fold":
            summary.folds.append({"run_id": f"{row}{name}", "cells": name, "test/accuracy": 0.5, "most_frequent": 0.5})
    folder = RunFolder(tmp_path)
    folder.create()
    if place == "configuration":
        text = "".join(NAMES).replace("\udcff", r"\udcff").replace("\x1b", r"\x1b")
        folder.config.write_text(f"# {text}", encoding="utf-8")
    write_report(folder, summary)
    page = folder.report.read_text(encoding="utf-8")
    assert_dead(page)
    for shown in SHOWN:
        assert page.count(shown) >= 2  # as a class, and in the place


def test_the_audit_escapes(tmp_path: Path) -> None:
    images, _ = paint(("basophil", "monocyte", "platelet"), 6, seed=0)
    images = np.concatenate([images, images[:6]])  # copies, so that there are findings to show
    labels = np.arange(24) % 3
    ids = [f"{NAMES[row % 3]}{row}.png" for row in range(24)]
    cells = ArrayCells(images, ids, labels, np.zeros(24, np.int8), NAMES)
    report = audit(cells)
    assert report.identical
    write_audit(report, cells, tmp_path)
    page = (tmp_path / "audit.html").read_text(encoding="utf-8")
    assert_dead(page)
    for shown in SHOWN:
        assert shown in page
    assert r"\udcff" in (tmp_path / "audit.json").read_text(encoding="utf-8")


def test_templates_escape_whatever_their_suffix() -> None:
    template = page_template("bcc_lightning.tracking", "report.html.jinja").environment.from_string("{{ name }} {{ 3 }}")
    assert template.render(name="<b>\x1b[31m") == r"&lt;b&gt;\x1b[31m 3"
