"""List commands and experiments."""

import ast
import textwrap
from pathlib import Path

from bcc_lightning.cli.command import lasting_streams
from bcc_lightning.cli.experiment_files import experiment_names
from bcc_lightning.cli.help import first_sentence

WIDTH, NAMES = 130, 46
"""Columns of a line, and of an experiment's name."""


def commands() -> dict[str, str]:
    """Map each command to the first line of its documentation: the modules of this package that can be run."""
    found = {}
    for file in sorted(Path(__file__).parent.glob("*.py")):
        source = file.read_text(encoding="utf-8")
        if file.name != "__main__.py" and '__name__ == "__main__"' in source:
            documentation = ast.get_docstring(ast.parse(source)) or ""
            found[file.stem] = documentation.splitlines()[0]
    return found


def experiments() -> dict[str, str]:
    """Map each experiment to the first sentence of its file's header."""
    return {name: first_sentence(header(file)) for name, file in experiment_names().items()}


def header(file: Path) -> str:
    """Return the first paragraph of comments of an experiment file, up to its source."""
    lines: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#") or line.startswith("# Source:"):
            break
        lines.append(line.removeprefix("#").strip())
    return " ".join(lines)


def main() -> None:
    """Print commands and experiments."""
    with lasting_streams():
        print("usage: python -m bcc_lightning.COMMAND --help\n")
        for name, purpose in commands().items():
            print(f"  {name:<12}{purpose}")
        print("\nexperiments: python -m bcc_lightning.fit --exp NAME\n")
        for name, purpose in experiments().items():
            for line in textwrap.wrap(purpose, WIDTH, initial_indent=f"  {name:<{NAMES}}", subsequent_indent=" " * (NAMES + 2)):
                print(line)


if __name__ == "__main__":
    main()
