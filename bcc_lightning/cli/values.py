"""Whether a value on the command line can be of an argument's type, from the annotation in the source.

Only values that are certainly none are told from others: a type that is not read here may be anything.
"""

import ast
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent.parent

TRUTHS = {"true", "false", "yes", "no", "on", "off", "0", "1"}
"""Words for a bool; which of them it takes, the parser says."""

NOTHING = {"null", "~", ""}
"""Words for no value."""


def refusing_types(annotation: str, file: Path, value: str) -> list[str]:
    """List the types of an argument, in words, of which a value is none; empty if it may be of one.

    Args:
        annotation: as it is written.
        file: the file that it is written in, or whose names it has.
        value: as it is given.
    """
    types = types_of(ast.parse(annotation, mode="eval").body, file) if annotation else None
    if types is None or value.lower() in NOTHING or any(fits(value, one) for one in types):
        return []
    return [one if isinstance(one, str) else f"one of {', '.join(map(repr, one))}" for one in types]


def fits(value: str, kind: str | tuple[object, ...]) -> bool:
    """Check whether a value is of a type: the name of a plain one, or the values that a literal one has."""
    if isinstance(kind, tuple):
        return value in map(str, kind)
    if kind == "bool":
        return value.lower() in TRUTHS
    try:
        float(value)
    except ValueError:
        return False
    return True


def types_of(node: ast.expr, file: Path) -> list[str | tuple[object, ...]] | None:
    """List the types of an annotation, without that of null; None if one of them is not a number, a bool or a literal."""
    found: list[str | tuple[object, ...]] | None = None
    match node:
        case ast.Constant(value=None):
            found = []
        case ast.Name(id="int" | "float" | "bool" as name):
            found = [name]
        case ast.Name(id=name):
            defined, place = definition(name, file)
            found = types_of(defined, place) if defined else None
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            found = [tuple(ast.literal_eval(part) for part in (inner.elts if isinstance(inner, ast.Tuple) else [inner]))]
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            found = types_of(inner, file)
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            sides = types_of(left, file), types_of(right, file)
            found = None if sides[0] is None or sides[1] is None else sides[0] + sides[1]
    return found


def definition(name: str, file: Path) -> tuple[ast.expr | None, Path]:
    """Find what a name stands for, in a file or in the one that it is imported from, and the file that says so."""
    assigned, imported = names_in(file)
    if name in imported:
        return definition(name, imported[name])
    return assigned.get(name), file


@cache
def names_in(file: Path) -> tuple[dict[str, ast.expr], dict[str, Path]]:
    """Map the names that a file defines to what they stand for, and those that it imports from this package to their files."""
    assigned: dict[str, ast.expr] = {}
    imported: dict[str, Path] = {}
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            assigned[node.targets[0].id] = node.value
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PACKAGE.name}."):
            source = PACKAGE.parent / f"{str(node.module).replace('.', '/')}.py"
            imported |= {alias.asname or alias.name: source for alias in node.names if source.is_file()}
    return assigned, imported
