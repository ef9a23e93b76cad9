"""The experiment files and search spaces: where they are, and which one a name means."""

from difflib import get_close_matches
from pathlib import Path

from bcc_lightning.errors import UserError, nearest

SPACES, DEBUG = "search", "debug"
"""Folders below ``experiments/`` with search spaces, and with files that stack on any experiment."""

STANDARD = "standard"
"""Name of the space for experiments without a space of their own."""


def experiment_folders() -> list[Path]:
    """List the folders that are searched; the user's own goes first."""
    package = Path(__file__).parent.parent
    places = (Path.cwd() / "experiments", package.parent / "experiments", package / "experiments")
    return [folder for folder in dict.fromkeys(places) if folder.is_dir()]


def experiment_names() -> dict[str, Path]:
    """Map the names of all experiments to their files; subfolders are part of the name, e.g. ``as_published/efficientswin``."""
    return {name: file for name, file in configuration_files().items() if not name.startswith((f"{SPACES}/", f"{DEBUG}/"))}


def configuration_files() -> dict[str, Path]:
    """Map the names of all files below ``experiments/`` to them; the user's own win."""
    found: dict[str, Path] = {}
    for folder in experiment_folders():
        for file in sorted(folder.rglob("*.yaml")):
            found.setdefault(file.relative_to(folder).with_suffix("").as_posix(), file)
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
    files, names = configuration_files(), experiment_names()
    if name in files and not name.startswith(f"{SPACES}/"):
        return files[name]
    near = get_close_matches(name, [file for file in files if not file.startswith(f"{SPACES}/")], n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise UserError(f"experiment '{name}' does not exist; {hint}There are: {', '.join(names)}")


def find_space(wanted: str | None, experiment: str) -> Path:
    """Find the file of a search space.

    Args:
        wanted: name in ``experiments/search``, or path of a YAML file; None for the experiment's own space, else the standard.
        experiment: name of the experiment.

    Raises:
        UserError: the file does not exist.
    """
    if wanted and wanted.endswith((".yaml", ".yml")):
        if not Path(wanted).is_file():
            raise UserError(f"--space {wanted} does not exist; give another file, or one of: {', '.join(space_files())}")
        return Path(wanted)
    files = space_files()
    if wanted and wanted not in files:
        near = nearest(wanted, files) or "."
        raise UserError(f"--space '{wanted}' does not exist{near} Give the path of a YAML file, or one of: {', '.join(files)}")
    return files[wanted] if wanted else files.get(experiment, files[STANDARD])


def space_files() -> dict[str, Path]:
    """Map the names of all search spaces to their files."""
    files = configuration_files().items()
    return {name.removeprefix(f"{SPACES}/"): file for name, file in files if name.startswith(f"{SPACES}/")}
