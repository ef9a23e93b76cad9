"""Draw the rooms of the package and the imports between them, from the imports themselves.

    python docs/draw_architecture.py            # writes docs/architecture.svg

An arrow leads from a room to one that it imports. Those that follow from others are left out: if A imports B, and B imports C,
the arrow from A to C is not drawn. The modules of the foundation are imported by all others and have no arrows.
"""

import ast
from collections import defaultdict
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "bcc_lightning"

LAYERS: tuple[tuple[str, ...], ...] = (
    (
        "argument_types",
        "errors",
        "files",
        "network",
        "optional_imports",
        "pages",
        "printable",
        "processes",
        "safe_names",
        "steps",
        "surroundings",
        "trust",
    ),
    ("architectures", "balancing", "differential", "evaluation", "transforms"),
    ("datasets",),
    ("modules", "datamodules"),
    ("audit", "explanation", "tracking"),
    ("callbacks",),
    ("cli",),
    ("tuning", "reproduction", "prediction", "embedding", "novelty"),
    ("engine",),
    ("deployment",),
    ("api", "verb"),
    (
        *("fit", "tune", "data", "ensemble", "reproduce", "submission"),
        *("predict", "evaluate", "compare", "explain", "export", "serve", "embed", "probe"),
        *("testing", "__main__"),
    ),
)
"""Rooms, and modules outside of rooms, from the lowest to the highest; each imports only from its own layer and lower ones."""

WIDTH, HEIGHT, GAP = 124, 34, 18
FONT = "font-family='DejaVu Sans, Verdana, sans-serif' font-size='12'"


def modules() -> dict[str, Path]:
    """Map the modules of the package to their files."""
    names = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return names


def imports(file: Path, lazy: bool = True) -> set[str]:
    """List the modules of the package that a file imports.

    Args:
        file: the file.
        lazy: whether imports within functions, and those for type checks only, count.
    """
    tree, known = ast.parse(file.read_text(encoding="utf-8")), modules()
    found = set()
    for node in ast.walk(tree) if lazy else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in known}
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            found |= {full if (full := f"{node.module}.{alias.name}") in known else node.module for alias in node.names}
    return found - {PACKAGE.name}


def room_of(module: str) -> str:
    """Return the room of a module, or the module itself if it is in none."""
    return module.split(".")[1] if "." in module else module


def layer_of(module: str) -> int:
    """Return the number of a module's layer, from the lowest; the package itself is the foundation of all."""
    room = room_of(module)
    return 0 if room == PACKAGE.name else next(number for number, layer in enumerate(LAYERS) if room in layer)


def arrows() -> dict[str, set[str]]:
    """Map each room to those that it imports; the foundation is left out."""
    found: dict[str, set[str]] = defaultdict(set)
    for module, file in modules().items():
        for target in imports(file):
            if layer_of(module) and layer_of(target) and "__main__" not in module and room_of(target) != room_of(module):
                found[room_of(module)].add(room_of(target))
    return found


def without_detours(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """Leave out the arrows that follow from others."""

    def reachable(room: str) -> set[str]:
        """List what a room imports, directly or not."""
        return set().union(*({target} | reachable(target) for target in graph.get(room, set())))

    return {
        room: {target for target in targets if not any(target in reachable(other) for other in targets - {target})}
        for room, targets in graph.items()
    }


def places() -> dict[str, tuple[float, float]]:
    """Place the rooms: the centre of each, commands on top."""
    rooms = [[room for room in layer if room != "__main__"] for layer in reversed(LAYERS)]
    width = max(map(len, rooms)) * (WIDTH + GAP)
    found = {}
    for row, layer in enumerate(rooms):
        start = (width - len(layer) * (WIDTH + GAP)) / 2 + (WIDTH + GAP) / 2
        for column, room in enumerate(layer):
            found[room] = (start + column * (WIDTH + GAP), 30 + row * 72.0)
    return found


def draw() -> str:
    """Draw the rooms as SVG."""
    at, sizes = places(), defaultdict(int)
    for module in modules():
        sizes[room_of(module)] += 1
    width = max(x for x, _ in at.values()) + WIDTH
    height = max(y for _, y in at.values()) + 60
    parts = [
        "<svg xmlns='http://www.w3.org/2000/svg' "
        f"width='{width:.0f}' height='{height:.0f}' viewBox='0 0 {width:.0f} {height:.0f}'>",
        "<defs><marker id='tip' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
        "<path d='M0 0 L8 4 L0 8 z' fill='#5b6b7b'/></marker></defs>",
        "<rect width='100%' height='100%' fill='#ffffff'/>",
    ]
    for room, targets in sorted(without_detours(arrows()).items()):
        for target in sorted(targets):
            (x, y), (u, v) = at[room], at[target]
            y, v = (y + HEIGHT / 2, v - HEIGHT / 2) if v > y else (y, v)
            if v == at[target][1]:  # in one layer: from side to side
                x, u = (x + WIDTH / 2, u - WIDTH / 2) if u > x else (x - WIDTH / 2, u + WIDTH / 2)
            parts.append(
                f"<path d='M{x:.0f} {y:.0f} C{x:.0f} {y + 26:.0f} {u:.0f} {v - 26:.0f} {u:.0f} {v:.0f}' fill='none' "
                "stroke='#5b6b7b' stroke-width='1.2' marker-end='url(#tip)'/>"
            )
    for room, (x, y) in at.items():
        colour = "#eef3f8" if layer_of(f"x.{room}") else "#f4f1e8"
        files = f" ({sizes[room]})" if (PACKAGE / room).is_dir() else ""
        parts.append(
            f"<rect x='{x - WIDTH / 2:.0f}' y='{y - HEIGHT / 2:.0f}' width='{WIDTH}' height='{HEIGHT}' rx='6' fill='{colour}' "
            f"stroke='#9fb0c0'/><text x='{x:.0f}' y='{y + 4:.0f}' text-anchor='middle' {FONT} fill='#22303c'>"
            f"{escape(room + files)}</text>"
        )
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    """Write the drawing."""
    file = ROOT / "docs" / "architecture.svg"
    file.write_text(draw(), encoding="utf-8")
    graph = arrows()
    print(f"{file.relative_to(ROOT)}: {sum(map(len, graph.values()))} arrows between {len(graph)} rooms and commands")


if __name__ == "__main__":
    main()
