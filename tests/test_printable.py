"""What is shown of names and paths: a terminal is not steered by them, and nothing vanishes."""

import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from bcc_lightning.cli.command import run_command
from bcc_lightning.data import main as data
from bcc_lightning.datasets.classes import WHITE_CELL_CLASSES
from bcc_lightning.errors import UserError
from bcc_lightning.printable import markdown, plain, printable, shortened
from tests.datamodules.miniatures import write_folder


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("größer 100 % リンパ球 🩸", "größer 100 % リンパ球 🩸"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x9b31m \x07 \x00 \r", r"\x9b31m \x07 \x00 \r"),
        ("cell_\udcff.png", r"cell_\udcff.png"),
        ("exe\u202egnp.x \u2028", r"exe\u202egnp.x \u2028"),
    ],
)
def test_what_steers_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    shown.encode()


def test_errors_are_shown_without_escape_sequences(capsys: pytest.CaptureFixture[str]) -> None:
    def body(argv: list[str]) -> int:
        raise UserError("/cells/\x1b]0;title\x07/\udcff.png cannot be read")

    assert run_command(body, []) == 2
    assert capsys.readouterr().err == "error: /cells/\\x1b]0;title\\x07/\\udcff.png cannot be read\n"


@pytest.mark.parametrize("name", ["[red]", "[/x]", "[bold", ":smile:", r"\[x]", "[link=file:///x]y[/link]", "\x1b[31m"])
def test_markup_of_tables_is_shown_as_it_is(name: str) -> None:
    table = Table(title=plain(name))
    table.add_column("class")
    table.add_row(plain(name))
    console = Console(file=io.StringIO(), force_terminal=False, width=80)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().count(printable(name)) == 2


def test_describe_shows_class_folders_by_their_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {"basophil": "[red]", "eosinophil": "[bold", "lymphocyte": ":smile:", "monocyte": "<b>x", "neutrophil": "$x{$"}
    root = write_folder(tmp_path / "[b]cells", WHITE_CELL_CLASSES, **names)
    assert data(["describe", "--root", str(root), "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    unwrapped = "".join(shown.split())  # a title is as wide as its table
    for name in (*names.values(), "[b]cells"):
        assert name in unwrapped
    assert {"class_counts.png", "samples.png"} <= {file.name for file in (tmp_path / "out").iterdir()}


def test_long_names_stay_different() -> None:
    names = ["a" * 50 + "x", "a" * 50 + "y", "a" * 60 + "x", "short", "two\nlines"]
    shown = shortened(names, 16)
    assert shown == ["a" * 10 + "…" + "aaaax", "a" * 10 + "…" + "aaaay", "a" * 10 + "…" + "aaaax (2)", "short", "two lines"]
    assert shortened(["exactly 16 chars"], 16) == ["exactly 16 chars"]


def test_markdown_is_shown_as_it_is() -> None:
    shown = markdown("UserError: ![x](http://a/b) <img src=x> in `a_b*`")
    assert shown == r"UserError: \!\[x\](http://a/b) \<img src=x\> in \`a\_b\*\`"
