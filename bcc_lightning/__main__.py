"""List the commands."""

import ast
from pathlib import Path

from bcc_lightning.cli.command import lasting_streams


def commands() -> dict[str, str]:
    """Map each command to the first line of its documentation: the modules of this package that can be run."""
    found = {}
    for file in sorted(Path(__file__).parent.glob("*.py")):
        source = file.read_text(encoding="utf-8")
        if file.name != "__main__.py" and '__name__ == "__main__"' in source:
            documentation = ast.get_docstring(ast.parse(source)) or ""
            found[file.stem] = documentation.splitlines()[0]
    return found


def main() -> None:
    """Print the commands."""
    with lasting_streams():
        print("usage: python -m bcc_lightning.COMMAND --help\n")
        for name, purpose in commands().items():
            print(f"  {name:<12}{purpose}")


if __name__ == "__main__":
    main()
