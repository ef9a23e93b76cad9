"""Hooks of MkDocs: pages and tables of the site that are made from what is known elsewhere, so that no fact is typed twice.

A page holds a comment such as ``<!-- experiments -->`` where a table belongs. Files elsewhere that are pages too, such as
``CONTRIBUTING.md``, are added, and the pages of ``findings/`` that exist.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from bcc_lightning.__main__ import experiments
from bcc_lightning.cli.experiment_files import experiment_names
from bcc_lightning.cli.needs import first_weights, pixels
from bcc_lightning.reproduction.published import PUBLISHED, Figure

DOCS = Path(__file__).parent
ROOT = DOCS.parent

ADDED = {"contributing/index.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md", "docker.md": "docker/README.md"}
"""Pages of the site that are files elsewhere in the repository."""

FROM_ELSEWHERE = re.compile(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//", re.IGNORECASE)
"""What a browser would load from a network."""

FOLDERS = ("", "as_published/", "lite/")
"""Folders of the experiments of a published system."""


def on_config(config: MkDocsConfig) -> None:
    """Add the findings to the navigation."""
    for entry in config.nav or []:
        if "Findings" in entry:
            entry["Findings"] += [f"findings/{file.name}" for file in findings()]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages that are files elsewhere."""
    for page, source in ADDED.items():
        up = "../" if "/" in page else ""
        content = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", f"]({up}")
        files.append(File.generated(config, page, content=content))


def on_page_markdown(markdown: str, **_: Any) -> str:  # noqa: ANN401 - MkDocs hands on more than is needed
    """Put tables in the places of their comments."""
    return re.sub(r"<!-- (\w+)(?:: (.+?))? -->", lambda comment: TABLES[comment[1]](*filter(None, [comment[2]])), markdown)


def on_post_page(output: str, page: Any, **_: Any) -> None:  # noqa: ANN401 - as above
    """Refuse a page that would load something from a network."""
    if found := FROM_ELSEWHERE.search(output):
        raise PluginError(f"{page.file.src_uri} loads something from a network: {found[0]}")


def findings() -> list[Path]:
    """List the pages of findings that exist."""
    return [file for file in sorted((DOCS / "findings").glob("*.md")) if file.name != "index.md"]


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Format a table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))


def experiment_table(folder: str = "") -> str:
    """Format the experiments of one folder below ``experiments/``, or those that are in none."""
    files = experiment_names()
    rows = []
    for name, purpose in experiments().items():
        if name.rpartition("/")[0] == folder:
            recipe = yaml.safe_load(files[name].read_text(encoding="utf-8"))
            planned = recipe.get("trainer", {}).get("max_epochs")
            epochs = str(planned) if planned else "" if recipe["model"]["class_path"] == "Ensemble" else "in stages"
            rows.append((f"`{name}`", purpose, recipe["data"]["class_path"], str(pixels(recipe)), first_weights(recipe), epochs))
    return table(("experiment", "what it is", "cells", "pixels", "first weights", "epochs at most"), rows)


def system_table(source: str) -> str:
    """Format the systems of a source: what was published, what it is, and what was measured here."""
    runs, names = measured(), experiment_names()
    systems = [system for system in PUBLISHED if system.source.startswith(source)]
    rows = []
    for system in systems:
        own = [prefix + system.experiment for prefix in FOLDERS if prefix + system.experiment in names]
        published = "<br>".join(map(published_figure, system.figures)) or "no figure"
        note = f"<br>{system.note}" if system.note else ""
        here = "<br>".join(runs[name] for name in own if name in runs) or "not yet"
        rows.append(("<br>".join(f"`{name}`" for name in own), published + note, here))
    head = ("experiments", "published, %, and what it is", "measured here, %")
    splits = "; ".join(dict.fromkeys(system.split for system in systems))
    return f"Data and split of the source: {splits}.\n\n{table(head, rows)}"


def published_figure(figure: Figure) -> str:
    """Format a published figure, with what it is."""
    return f"**{figure.percent}**, {'held out' if figure.untouched else '**not held out**'}: {figure.meaning}"


def measured() -> dict[str, str]:
    """Map experiments to what `results.md` has of them: accuracy with interval, and data or weights."""
    rows = re.findall(r"^\| `([\w/]+)` \| (\d\d\.\d\d \([^|]+\)) \| ([^|]+) \|", text_of("results.md"), re.MULTILINE)
    return {name: f"`{name}`: {accuracy}; {what}" for name, accuracy, what in rows}


def text_of(page: str) -> str:
    """Read a page."""
    return (DOCS / page).read_text(encoding="utf-8")


TABLES: dict[str, Callable[..., str]] = {"experiments": experiment_table, "systems": system_table}
"""What stands in the place of a comment, by its first word."""
