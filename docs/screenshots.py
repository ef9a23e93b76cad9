"""Run the tutorial as it is printed, and make its images: uv run python docs/screenshots.py.

``tests/test_documentation.py`` runs the tutorial through the same functions.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

DOCS = Path(__file__).parent
IMAGES = DOCS / "images"

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

UV = """#!/usr/bin/env bash
# `uv run python ARGUMENTS` with the Python that is running already.
while [ "$1" != python ]; do shift; done
shift
exec {python} "$@"
"""

WIDTH = 1100
"""Pixels of a page, and the largest width of an image."""


@dataclass(frozen=True)
class Step:
    """A block of commands that was run.

    Attributes:
        commands: the block.
        printed: standard output and error.
        code: exit code of its last command.
        shown: what the page shows of its output; empty if it shows nothing.
    """

    commands: str
    printed: str
    code: int
    shown: str


def run(page: Path, folder: Path) -> list[Step]:
    """Run the commands of a page, block by block, in a folder.

    Args:
        page: a Markdown file; a block of ``text`` after one of ``bash`` or ``python`` shows its output.
        folder: working folder; it gets a link to this one, so that its scripts are found.
    """
    if not (folder / "docs").exists():
        (folder / "docs").symlink_to(DOCS)
    program = folder / "bin" / "uv"
    program.parent.mkdir(exist_ok=True)
    program.write_text(UV.format(python=sys.executable))
    program.chmod(0o755)
    path = os.pathsep.join([str(program.parent), os.environ["PATH"]])
    package = os.pathsep.join(filter(None, [str(DOCS.parent), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PATH": path, "PYTHONPATH": package, "COLUMNS": "130"}
    blocks, steps = BLOCK.findall(page.read_text(encoding="utf-8")), []
    for (language, block), (following, shown) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if language in {"bash", "python"}:
            program_of = {"bash": ["bash", "-c"], "python": [sys.executable, "-c"]}[language]
            done = subprocess.run(
                [*program_of, block], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=500
            )
            printed = done.stdout + done.stderr
            steps.append(Step(block, printed, done.returncode, shown if following == "text" else ""))
    return steps


def photograph(page: Path, image: str, height: int) -> None:
    """Save the top of a page as an image."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": WIDTH, "height": height})
        tab.goto(page.as_uri())
        file = page.with_suffix(".png")
        tab.screenshot(path=file)
        browser.close()
    save(file, image)


def save(file: Path, image: str, part: float = 1.0) -> None:
    """Save the upper part of an image, shrunk to `WIDTH`, as WebP in `IMAGES`."""
    with Image.open(file) as opened:
        whole = opened.convert("RGB")
    cut = whole.crop((0, 0, whole.width, round(whole.height * part)))
    cut.thumbnail((WIDTH, 4 * WIDTH))
    cut.save(IMAGES / f"{image}.webp", quality=80, method=6)


def main() -> None:
    """Run the tutorial, print what it printed, and save its images."""
    IMAGES.mkdir(exist_ok=True)
    with TemporaryDirectory() as name:
        folder = Path(name)
        for step in run(DOCS / "tutorial.md", folder):
            lines = [line for line in step.printed.splitlines() if not re.search(r"\d+it/s|\?it/s|^\s*$", line)]  # but progress
            print(f"$ {step.commands}", *lines, f"[exit code {step.code}]", sep="\n")
        (report,) = (folder / "mlruns" / "artifacts").glob("*/artifacts/report.html")
        made = folder / "tutorial"
        photograph(made / "audit" / "audit.html", "audit", 900)
        photograph(report, "report", 780)
        photograph(made / "clinic_page" / "evaluation.html", "evaluation", 400)
        save(report.parent / "explain" / "gradcam.png", "gradcam", part=0.5)
        save(made / "doubtful.png", "doubtful", part=0.5)
        save(made / "smears.differential.png", "differential")
        for file in sorted(IMAGES.glob("*.webp")):
            print(f"{file.name}: {file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
