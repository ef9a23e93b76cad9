"""Evaluate a finished run: on its own test set, from the answers that it filed, and on sets that arrived later."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from bcc_lightning.argument_types import fits, refusal
from bcc_lightning.datamodules.base import CellDataModule
from bcc_lightning.engine.evaluator import Evaluation, Evaluator, adapted_by
from bcc_lightning.engine.further_sets import (
    FurtherSet,
    read_data_module,
    read_test_on,
    refuse_seen,
    refuse_unusable,
)
from bcc_lightning.engine.rebuild import own_data
from bcc_lightning.errors import UserError
from bcc_lightning.files import read_json, refuse_unwritable_folder
from bcc_lightning.prediction.choices import Method
from bcc_lightning.prediction.classifier import TrainedClassifier
from bcc_lightning.safe_names import file_name
from bcc_lightning.tracking.additions import forget
from bcc_lightning.tracking.finished_runs import FinishedRun
from bcc_lightning.tracking.trained_networks import TrainedNetwork


def evaluate(
    network: TrainedNetwork,
    out: Path,
    data: CellDataModule | None = None,
    test_on: Sequence[str] = (),
    class_map: Mapping[str, str | None] | None = None,
    test_pixel_size: Mapping[str, float] | None = None,
    name: str | None = None,
    file: bool = True,
    gallery: bool = True,
    methods: Sequence[Method] = (),
) -> list[Evaluation]:
    """Evaluate a trained network on its own test set or, where `data` or `test_on` name them, on further sets.

    The own test set is not evaluated again: what the run answered in its test is read.

    Args:
        network: the network, or the folds of a cross-validation, which vote on a further set.
        out: folder of the results; of several sets each gets a folder below it.
        data: a data module whose test set is evaluated, or all its cells where it has none.
        test_on: folders of class folders, or tables.
        class_map: classes of `test_on`, and what the network calls them; None leaves them out.
        test_pixel_size: micrometres that a pixel of a set of `test_on` covers, by its name.
        name: under which a single further set is filed; by default that of its folder or table.
        file: whether results are filed in the network's run.
        gallery: whether cells are drawn.
        methods: how the network is adapted to each further set, without its labels; the results are filed beside those of the
            network as it is, under the name of the set and, e.g., ``-adapted-bn``.

    Returns:
        One evaluation per set.

    Raises:
        UserError: something in the arguments, the run or the data has to be mended.
    """
    refuse_unwritable_folder("--out", out)
    is_further = data is not None or bool(test_on)
    if data is not None and test_on:
        raise UserError("--data and --data.test_on both name what is evaluated; leave one of them out")
    refuse_mappings(bool(test_on), class_map, test_pixel_size)
    if not is_further:
        refuse_for_own_test(name, methods)
    own = own_data(network) if gallery or is_further else "images were not requested"
    evaluator = Evaluator(network, own, gallery, methods)
    if not is_further:
        return [evaluator.on_own_test(out, file)]
    classifier = TrainedClassifier.of(network)
    if data:
        sets = [read_data_module(data, classifier, own)]
    else:
        sets = read_test_on(test_on, class_map or {}, classifier, own, test_pixel_size or {})
    if name and len(sets) > 1:
        raise UserError(f"--name {name} names one set, but {len(sets)} are evaluated; evaluate them one by one")
    sets = [replace(one, name=name) for one in sets] if name else sets
    sets = [replace(one, name=f"{one.name}{adapted_by(methods)}") for one in sets] if methods else sets
    for one in sets:
        refuse_unusable(one, classifier.class_names)
        if not isinstance(own, str):
            refuse_seen(one, network, own)
        if file and network.run:
            refuse_other_cells(network.run, one)
    folders = [out if len(sets) == 1 else out / file_name(one.name) for one in sets]
    return [evaluator.on_further(one, classifier, folder, file) for one, folder in zip(sets, folders, strict=True)]


def refuse_mappings(
    has_sets: bool, class_map: Mapping[str, str | None] | None, test_pixel_size: Mapping[str, float] | None
) -> None:
    """Refuse mappings of another kind, and those that no set of `test_on` needs."""
    class_hint, size_hint = dict[str, str | None] | None, dict[str, float] | None
    for option, value, hint in (("class_map", class_map, class_hint), ("test_pixel_size", test_pixel_size, size_hint)):
        if not fits(value, hint):
            raise UserError(refusal(f"data.{option}", value, hint))
        if value and not has_sets:
            raise UserError(f"--data.{option} names {', '.join(map(str, value))}, but --data.test_on names no set")


def refuse_for_own_test(name: str | None, methods: Sequence[Method]) -> None:
    """Refuse what goes with further sets only."""
    if name:
        raise UserError(f"--name {name}: the run's own test set has its name; name a further set with --data or --data.test_on")
    if methods:
        raise UserError("--adapt adapts a network to another laboratory; name its cells with --data or --data.test_on")


def refuse_other_cells(run: FinishedRun, one: FurtherSet) -> None:
    """Refuse to replace the results of other cells that were filed under the same name; the same cells replace theirs.

    Raises:
        UserError: with the next step.
    """
    figures, answers = f"evaluation/{file_name(one.name)}.json", f"predictions/{file_name(one.name)}.parquet"
    for name in (figures, answers):
        forget(run, name)
    if run.has(figures):
        filed = (read_json(run.artifact(figures)) or {}).get("cells_sha256")
        is_same = filed == one.sha256
    elif run.has(answers):  # filed by the training, which keeps no hash of the pixels
        is_same = set(pd.read_parquet(run.artifact(answers))["id"]) == set(one.cells.ids)
    else:
        return
    if not is_same:
        raise UserError(
            f"run {run.run_id} was already evaluated on a set called {one.name}, which held other cells; its results are kept. "
            f"Next step: file this one under another name with --name OTHER, or leave the run alone with --file false"
        )
