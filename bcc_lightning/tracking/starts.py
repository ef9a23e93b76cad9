"""Trained networks that a new training starts from."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bcc_lightning.errors import UserError
from bcc_lightning.tracking.sources import REGISTERED, Source, find_source, of_file
from bcc_lightning.tracking.store import Tracking


def find_starts(tracking: Tracking, arguments: dict[str, Any]) -> dict[str, Source]:
    """Find the networks that a module's arguments name.

    Args:
        tracking: the store.
        arguments: arguments of the module. Those that end in ``weights`` count, of the whole network or of a branch. A file
            stands for itself; what has no file's suffix is a run, an experiment or a registered model, see `find_source`.

    Returns:
        By argument, those that are named.

    Raises:
        UserError: there is no such run.
    """
    named = {name: str(value) for name, value in arguments.items() if name.endswith("weights") and value}
    files = {name: of_file(Path(file)) for name, file in named.items() if Path(file).is_file()}
    runs = {name: find_source(tracking, run) for name, run in named.items() if name not in files and is_run(run)}
    return files | runs


def is_run(wanted: str) -> bool:
    """Tell a run, an experiment or a registered model from the path of a file, which may not exist."""
    return wanted.startswith(REGISTERED) or not (Path(wanted).suffix or "/" in wanted)


def refuse_another_split(sources: Iterable[Source], facts: dict[str, str], identity: dict[str, str]) -> None:
    """Refuse networks that were trained on the same cells in another split: they may have learnt cells of the test set.

    The cells are the same where their pixels are, whatever has become of labels, groups and weights.

    Args:
        sources: the networks.
        facts: facts of the data to train on, see `CellDataModule.facts`.
        identity: hashes of its components, see `CellDataModule.identity`.

    Raises:
        UserError: with both splits.
    """
    for source in sources:
        seen = source.summary.data if source.summary else {}
        pixels = source.summary.identity.get("pixels") if source.summary else None
        is_same = seen.get("data.sha256") == facts["data.sha256"] or pixels == identity["pixels"]
        if is_same and seen.get("split.sha256") != facts["split.sha256"]:
            raise UserError(
                f"{source.title} was trained on the same data in another split (split.sha256 "
                f"{seen.get('split.sha256', 'unknown')[:12]}, not {facts['split.sha256'][:12]}), so it may have learnt cells of "
                "the test set. Next step: --data.split_file with the split.csv of that run, or train it again"
            )
