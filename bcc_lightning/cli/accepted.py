"""What `fit` accepts, read from the source of this package and of Lightning: importing them would take seconds.

Classes are found by name, arguments by the signatures of their constructors and of those of their bases, what they mean in the
docstrings.
"""

import ast
import re
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGE = Path(__file__).parent.parent

SECTION = re.compile(r"^(Args|Attributes):\s*$")
ENTRY = re.compile(r"^    (\*{0,2}\w+): (.*)$")


@dataclass(frozen=True)
class Argument:
    """An argument.

    Attributes:
        name: its name.
        default: its default, as it is written; empty if it has none.
        purpose: what it is for, from the docstring.
        annotation: its type, as it is written; empty if it has none.
        file: the file that it is written in.
    """

    name: str
    default: str = ""
    purpose: str = ""
    annotation: str = ""
    file: Path = PACKAGE


@dataclass(frozen=True)
class Signature:
    """A class as its source describes it.

    Attributes:
        own: its own arguments.
        bases: names of its bases.
        passes_on: whether it takes those of its bases too.
        summary: first line of the docstring.
        folder: of a data set, its folder below that of all data sets, if it says so itself.
    """

    own: dict[str, Argument]
    bases: tuple[str, ...]
    passes_on: bool
    summary: str = ""
    folder: str = ""


@dataclass(frozen=True)
class Accepted:
    """The arguments that the keys of one group, such as ``data``, take.

    Attributes:
        classes: name of a class to its arguments; a single nameless one for a group that is no class to be chosen.
        summaries: name of a class to the first line of its docstring.
        folders: name of a data set to its folder below that of all data sets.
    """

    classes: dict[str, dict[str, Argument]]
    summaries: dict[str, str] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)

    def arguments(self, chosen: str | None) -> dict[str, Argument]:
        """Return the arguments of the chosen class, or of all where it is not known."""
        if chosen in self.classes:
            return self.classes[chosen]
        return {name: argument for own in self.classes.values() for name, argument in own.items()}


@cache
def accepted() -> dict[str, Accepted]:
    """Return what each group of keys takes."""
    signatures = {**read_signatures(PACKAGE / "datamodules"), **read_signatures(PACKAGE / "modules")}
    found = {}
    for group, base in (("data", "CellDataModule"), ("model", "CellClassifier")):
        names = [name for name in signatures if descends(name, base, signatures) and name not in {base, "ImageFiles"}]
        classes = {name: all_arguments(name, signatures) for name in names}
        summaries, folders = ({name: getattr(signatures[name], fact) for name in names} for fact in ("summary", "folder"))
        found[group] = Accepted(classes, summaries, folders)
    found["selection"] = Accepted({"": read_signatures(PACKAGE / "modules/recipe.py")["Selection"].own})
    found["tracking"] = Accepted({"": read_signatures(PACKAGE / "tracking/settings.py")["Tracking"].own})
    found["trainer"] = Accepted({"": trainer_arguments()})
    return found


def read_signatures(place: Path) -> dict[str, Signature]:
    """Read the classes of a file, or of all files of a folder."""
    found = {}
    for file in [place] if place.is_file() else sorted(place.glob("*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                found[node.name] = signature_of(node, file)
    return found


def signature_of(node: ast.ClassDef, file: Path) -> Signature:
    """Describe a class: the arguments of its constructor, or the fields of a dataclass."""
    documentation = ast.get_docstring(node) or ""
    purposes = described(documentation)
    own: dict[str, Argument] = {}
    passes_on, folder = True, ""
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and part.name == "__init__":
            named = part.args.args[1:] + part.args.kwonlyargs
            defaults = [None] * (len(part.args.args[1:]) - len(part.args.defaults)) + [
                *part.args.defaults,
                *part.args.kw_defaults,
            ]
            own = {
                one.arg: Argument(one.arg, written(default), purposes.get(one.arg, ""), written(one.annotation), file)
                for one, default in zip(named, defaults, strict=True)
            }
            passes_on = part.args.kwarg is not None
            break
        if isinstance(part, ast.Assign) and written(part.targets[0]) == "folder":
            folder = ast.literal_eval(part.value)
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            name = part.target.id
            own[name] = Argument(name, written(part.value), purposes.get(name, ""), written(part.annotation), file)
    bases = tuple(base.id for base in node.bases if isinstance(base, ast.Name))
    return Signature(own, bases, passes_on, documentation.partition("\n")[0], folder)


def written(node: ast.expr | None) -> str:
    """Return an expression as it is written; empty if there is none."""
    return ast.unparse(node) if node else ""


def described(documentation: str) -> dict[str, str]:
    """Read what a docstring says of each argument."""
    found: dict[str, str] = {}
    name, inside = "", False
    for line in documentation.splitlines():
        if SECTION.match(line):
            inside = True
        elif inside and line and not line.startswith(" "):
            inside = False
        elif inside and (entry := ENTRY.match(line)):
            name = entry[1]
            found[name] = entry[2].strip()
        elif inside and name and line.strip():
            found[name] += f" {line.strip()}"
    return found


def descends(name: str, base: str, signatures: dict[str, Signature]) -> bool:
    """Check whether a class is another one or descends from it."""
    return name == base or any(descends(one, base, signatures) for one in signatures[name].bases if one in signatures)


def all_arguments(name: str, signatures: dict[str, Signature]) -> dict[str, Argument]:
    """Collect the arguments of a class and of its bases."""
    signature = signatures[name]
    inherited: dict[str, Argument] = {}
    for base in signature.bases if signature.passes_on else ():
        if base in signatures:
            inherited |= all_arguments(base, signatures)
    own = {one.name: replace(one, purpose=one.purpose or purpose_of(one.name, inherited)) for one in signature.own.values()}
    return {**inherited, **own}


def purpose_of(name: str, inherited: dict[str, Argument]) -> str:
    """Return what a base says that an argument is for, where a class only changes its default."""
    return inherited[name].purpose if name in inherited else ""


def trainer_arguments() -> dict[str, Argument]:
    """Read the arguments of Lightning's trainer."""
    spec = find_spec("lightning")
    assert spec is not None, "a dependency"  # noqa: S101 - tells the type checker
    assert spec.submodule_search_locations is not None, "a package"  # noqa: S101
    file = Path(spec.submodule_search_locations[0]) / "pytorch/trainer/trainer.py"
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == "Trainer":
            return signature_of(node, file).own
    return {}
