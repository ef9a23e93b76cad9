"""The documentation: every command that it prints is accepted, the tutorial does what its page says, images are small."""

import argparse
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import jsonargparse
import pytest

from bcc_lightning.cli.command import separate
from bcc_lightning.cli.data_sets import names_data, separate_data
from bcc_lightning.cli.early import refuse_misspelt

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))

from screenshots import BLOCK, run  # noqa: E402 - found by the line above

# Those on adding things are run by `test_contributing.py`.
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "docker/README.md")),
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if not page.name.startswith("adding_")),
]

RECORDER = """
PATH=/nowhere
command_not_found_handle() { printf '%s\\0' "$@" >>recorded; printf '\\n' >>recorded; }
fit() { uv run python -m bcc_lightning.fit "$@"; }
"""
"""Lets bash read a script, with its variables, functions and quotes, and record each program that it would start."""

OTHERS = {"pip", "pytest", "mlflow", "mkdocs", "pre-commit", "curl", "docker", "ssh", "cp", "mkdir", "rm", "head"}
"""Programs that are not this project's."""

PLACEHOLDERS = {"NAME": "quickstart", "SEEDS": "3", "N": "3", "K": "3"}


class AcceptedError(BaseException):
    """Ends a command once its arguments are accepted."""


def recorded(page: Path, folder: Path) -> list[list[str]]:
    """List the commands of a page: those of its blocks, and those within its sentences and tables."""
    text = page.read_text(encoding="utf-8")
    blocks = [block for language, block in BLOCK.findall(text) if language == "bash"]
    spans = re.findall(r"`((?:uv run |python -m |fit |bash docs/)[^`\n]+)`", BLOCK.sub("", text))
    script = "\n".join([RECORDER, *blocks, *spans])
    script = re.sub(r"\b(NAME|SEEDS|N|K)\b", lambda found: PLACEHOLDERS[found[0]], script)
    subprocess.run(["bash", "--norc", "-c", script], cwd=folder, capture_output=True, check=False, timeout=60)
    file = folder / "recorded"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [line.split("\0")[:-1] for line in lines]


def flags_exist(script: Path, arguments: list[str]) -> None:
    """Find the flags of a script in its text."""
    source = script.read_text(encoding="utf-8")
    for flag in (one for one in arguments if one.startswith("--") and one != "--help"):
        if flag == "--":
            break  # what follows is handed on to a command
        assert f'"{flag}"' in source, f"{script.name} has no {flag}"


def accepts(command: str, arguments: list[str]) -> None:
    """Let a command of this project read its arguments, and stop it then."""
    module = import_module(f"bcc_lightning.{command}")
    if "--trust" in arguments or "--help" in arguments:  # packages of the reader; nothing to be read
        return
    if command in {"fit", "ensemble"}:
        refuse_misspelt(separate(arguments, ("run", "checkpoint", "weights", "out") if command == "ensemble" else ())[1])
        return
    if command == "tune" and "--" in arguments:
        refuse_misspelt(["--exp", arguments[arguments.index("--exp") + 1], *arguments[arguments.index("--") + 1 :]])
    if command in {"evaluate", "embed", "probe", "data"} and names_data(arguments):
        refuse_misspelt(separate_data(arguments)[0])
    with pytest.raises(AcceptedError):
        assert module.main(arguments) == 0


@pytest.fixture
def stop_after_parsing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let parsers read arguments and end the command."""

    def stopping(parse: Callable[..., Any]) -> Callable[..., Any]:
        def read(*args: Any, **kwargs: Any) -> None:
            parse(*args, **kwargs)
            raise AcceptedError

        return read

    for parser in (jsonargparse.ArgumentParser, argparse.ArgumentParser):
        monkeypatch.setattr(parser, "parse_args", stopping(parser.parse_args))


@pytest.mark.usefixtures("stop_after_parsing")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_is_accepted(page: Path, tmp_path: Path) -> None:
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    (tmp_path / "mine.yaml").write_text("seed_everything: 0\n")
    for command in recorded(page, tmp_path):
        program, *arguments = separate(command[2:], ("extra", "group"))[1] if command[:2] == ["uv", "run"] else command
        if program == "bash":
            assert (ROOT / arguments[0]).is_file(), arguments
        elif program == "python" and arguments[0] == "-m":
            name = arguments[1]
            assert name == "pytest" or name.startswith("bcc_lightning"), name
            if name.startswith("bcc_lightning."):
                accepts(name.removeprefix("bcc_lightning."), arguments[2:])
        elif program == "python" and arguments[0] != "-c":
            flags_exist(ROOT / arguments[0], arguments[1:])
        else:
            assert program in OTHERS | {"python"}, program


def test_commands_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    block = 'A="--x 1"\nfit() { uv run python -m p.fit "$@"; }\nfit \\\n  $A "b c"  # why\n'
    page.write_text(f"```bash\n{block}```\nand `fit d`, `else`\n")
    common = ["uv", "run", "python", "-m", "p.fit"]
    assert recorded(page, tmp_path) == [[*common, "--x", "1", "b c"], [*common, "d"]]


def alike(text: str) -> list[str]:
    """Reduce output to lines in which figures, ids and spaces do not matter."""
    return [re.sub(r"\d+(\.\d+)?", "0", re.sub(r"\b[0-9a-f]{32}\b", "RUN_ID", line)).strip() for line in text.splitlines()]


@pytest.mark.slow
def test_the_tutorial_and_the_page_after_it_do_what_they_say(tmp_path: Path) -> None:
    steps = [step for name in ("tutorial", "python") for step in run(ROOT / "docs" / f"{name}.md", tmp_path)]
    failed = [f"{step.commands}{step.printed[-2000:]}" for step in steps if step.code]
    assert len(failed) == 1, failed  # the audit, whose findings are above the thresholds
    assert "data audit" in failed[0]
    for step in steps:
        assert set(alike(step.shown)) <= set(alike(step.printed)), step.commands


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_tables_stand_apart_from_the_code_before_them(page: Path) -> None:
    """Python-Markdown would show such a table as a paragraph of bars."""
    assert re.search(r"^```\n\|", page.read_text(encoding="utf-8"), re.MULTILINE) is None


def test_images_are_small_and_shown() -> None:
    shown = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for image in (ROOT / "docs" / "images").iterdir():
        assert image.stat().st_size < 150_000
        assert f"images/{image.name})" in shown or f'images/{image.name}"' in shown, image
