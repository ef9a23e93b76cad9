"""The options of one call, and the experiment files that they name."""

from difflib import get_close_matches
from pathlib import Path

from bcc_lightning.errors import UserError

NOT_EXPERIMENTS = "search"
"""Folder below ``experiments/`` with search spaces."""


def experiment_folders() -> list[Path]:
    """List the folders that are searched; the user's own goes first."""
    package = Path(__file__).parent.parent
    places = (Path.cwd() / "experiments", package.parent / "experiments", package / "experiments")
    return [folder for folder in dict.fromkeys(places) if folder.is_dir()]


def experiment_names() -> dict[str, Path]:
    """Map the names of all experiments to their files; subfolders are part of the name, e.g. ``as_published/efficientswin``."""
    found: dict[str, Path] = {}
    for folder in experiment_folders():
        for file in sorted(folder.rglob("*.yaml")):
            name = file.relative_to(folder).with_suffix("").as_posix()
            if not name.startswith(f"{NOT_EXPERIMENTS}/"):
                found.setdefault(name, file)
    return found


def find_experiment(name: str) -> Path:
    """Find the file of an experiment.

    Args:
        name: a name, or the path of a YAML file.

    Raises:
        UserError: there is none; near matches are listed, or all names.
    """
    if name.endswith((".yaml", ".yml")):
        if Path(name).is_file():
            return Path(name)
        raise UserError(f"experiment file {name} does not exist")
    names = experiment_names()
    if name in names:
        return names[name]
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise UserError(f"experiment '{name}' does not exist; {hint}There are: {', '.join(names)}")
