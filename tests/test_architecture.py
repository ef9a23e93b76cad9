"""The imports themselves: no circle, no room that imports one above it, architectures without Lightning."""

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))
from draw_architecture import LAYERS, PACKAGE, imports, layer_of, modules

sys.path.pop(0)

EAGER = {name: imports(file, lazy=False) for name, file in modules().items()}
ALL = {name: imports(file, lazy=True) for name, file in modules().items()}


def test_no_circle_even_of_imports_within_functions() -> None:
    graph = {name: targets - {name} for name, targets in ALL.items()}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")
    assert set(order) >= set(graph)


def test_no_room_imports_one_above_it() -> None:
    upward = [
        f"{name} imports {target}" for name, targets in ALL.items() for target in targets if layer_of(target) > layer_of(name)
    ]
    assert upward == []


def test_every_module_has_a_layer() -> None:
    rooms = {name.split(".")[1] for name in modules() if "." in name}
    assert rooms <= {room for layer in LAYERS for room in layer}


def libraries(file: Path) -> Iterator[str]:
    """Names of the packages that a file imports."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


@pytest.mark.parametrize("room", ["architectures", "datasets", "transforms", "balancing", "evaluation"])
def test_networks_data_and_metrics_know_no_lightning(room: str) -> None:
    files = list((PACKAGE / room).rglob("*.py"))
    assert len(files) > 1
    assert [file.name for file in files if {"lightning", "pytorch_lightning"} & set(libraries(file))] == []


def test_each_room_says_what_belongs_in_it() -> None:
    for folder in sorted(path.parent for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE):
        documentation = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
        assert len(documentation.split()) >= 15, f"{folder.name}/__init__.py does not say what belongs there and what does not"


def test_no_file_is_too_long() -> None:
    lengths = {file.name: len(file.read_text(encoding="utf-8").splitlines()) for file in PACKAGE.rglob("*.py")}
    assert {name: length for name, length in lengths.items() if length > 400} == {}
