"""List commands, experiments, data sets, networks and augmentation pipelines."""

import ast
import sys
from importlib import import_module
from pathlib import Path

from bcc_lightning.cli.accepted import accepted
from bcc_lightning.cli.command import lasting_streams
from bcc_lightning.cli.experiment_files import experiment_names
from bcc_lightning.cli.help import KEYS, first_sentence, rows
from bcc_lightning.cli.needs import needs
from bcc_lightning.errors import UserError, nearest
from bcc_lightning.files import read_mapping
from bcc_lightning.printable import printable
from bcc_lightning.transforms.recipes import PURPOSES

FAMILIES = {
    "lite": "The systems of papers with weights that come as a package",
    "as_published": "The systems of papers with the quirks of their sources",
}
"""Folders of experiments that are variants of others, of which only the names are listed."""


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


def with_needs(name: str, purpose: str) -> str:
    """Add to the purpose of an experiment what it needs; a file of the user's own may lack what tells it."""
    try:
        return f"{purpose} [{needs(read_mapping(experiment_names()[name], 'keys such as model, data and trainer'))}]"
    except (UserError, KeyError, TypeError, ValueError, AttributeError):
        return purpose


def listed_experiments() -> dict[str, str]:
    """Map each experiment to its purpose and what it needs, and each family to the names of its experiments."""
    found = {name: with_needs(name, why) for name, why in experiments().items() if name.partition("/")[0] not in FAMILIES}
    for family, purpose in FAMILIES.items():
        names = [name.removeprefix(f"{family}/") for name in experiment_names() if name.startswith(f"{family}/")]
        found[f"{family}/NAME"] = f"{purpose}: {', '.join(names)}"
    return found


def classes(group: str) -> dict[str, str]:
    """Map the data sets or the networks to what they are."""
    return {name: first_sentence(text).partition("; see `")[0] for name, text in accepted()[group].summaries.items()}


def main(argv: list[str] | None = None) -> int:
    """Run a command that is named with a space instead of a dot; without one, print the lists.

    Args:
        argv: arguments without the program's name; by default those of the process.

    Returns:
        Exit code, see the command; 2 where there is none of this name.
    """
    name, *arguments = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in commands():
        code: int = import_module(f"bcc_lightning.{name}").main(arguments)
        return code
    if name not in {"--help", "-h"}:
        near = nearest(name, commands()) or "."
        print(f"error: there is no command {printable(name)}{near} `python -m bcc_lightning` lists all", file=sys.stderr)
        return 2
    print_lists()
    return 0


def print_lists() -> None:
    """Print the lists."""
    lists = {
        "Commands: python -m bcc_lightning.COMMAND --help": commands(),
        "Data sets: --data NAME": classes("data"),
        "Networks: --model NAME": classes("model"),
        "Augmentation: --data.augment NAME": PURPOSES,
        "Experiments: python -m bcc_lightning.fit --exp NAME": listed_experiments(),
    }
    with lasting_streams():
        for title, entries in lists.items():
            column = min(max(map(len, entries)) + 6, KEYS)
            print("\n".join([title, *rows(entries.items(), column), ""]))


if __name__ == "__main__":
    sys.exit(main())
