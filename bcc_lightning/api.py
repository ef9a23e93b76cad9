"""The package from Python: what a notebook needs, as functions."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from bcc_lightning.cli.arguments import Call
from bcc_lightning.cli.command import quieten
from bcc_lightning.cli.early import refuse_misspelt
from bcc_lightning.cli.experiment_files import experiment_names
from bcc_lightning.datamodules import CellDataModule
from bcc_lightning.deployment.export import Export
from bcc_lightning.deployment.export import export as export_network
from bcc_lightning.embedding.extractor import Extractor
from bcc_lightning.embedding.features import Embedded
from bcc_lightning.embedding.features import embed as embed_cells
from bcc_lightning.embedding.files import write_features
from bcc_lightning.embedding.report import Probe
from bcc_lightning.embedding.report import probe as probe_features
from bcc_lightning.engine.comparing import compare as compare_networks
from bcc_lightning.engine.comparison import Comparison
from bcc_lightning.engine.cross_validation import cross_validate
from bcc_lightning.engine.evaluating import evaluate as evaluate_network
from bcc_lightning.engine.evaluator import Evaluation
from bcc_lightning.engine.explaining import ExplainedImages, explain_network
from bcc_lightning.engine.fold_plan import CrossValidation
from bcc_lightning.engine.run import run_experiment
from bcc_lightning.errors import UserError
from bcc_lightning.prediction.classifier import Images, TrainedClassifier
from bcc_lightning.tracking.finished_runs import FinishedRun, find_run, finished_runs
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.tracking.trained_networks import TrainedNetwork, find_network, of_run_or_folds

Source: TypeAlias = str | Path | FinishedRun
"""A trained network: a run, its id or the beginning of it, an experiment, a checkpoint file, or ``models:/NAME@ALIAS``."""


def fit(experiment: str | list[str], **overrides: Any) -> FinishedRun:  # noqa: ANN401 - any argument of an experiment
    """Train an experiment, evaluate it once on the test set, explain it and file the run.

    Args:
        experiment: name or file of an experiment, or several that stack.
        **overrides: what is to be other than the experiment says, by group: ``data={"root": "cells"}``, ``model={"lr": 1e-4}``,
            ``trainer={"max_epochs": 3}``, ``selection``, ``tracking``; also ``seed_everything``, ``folds`` and ``repeats``. A
            text for `data` or `model` names another class.

    Returns:
        The finished run, with its metrics and files.

    Raises:
        UserError: something in the arguments, the data or the surroundings has to be mended.
    """
    quieten()
    names = [experiment] if isinstance(experiment, str) else experiment
    arguments = [*(part for name in names for part in ("--exp", name)), *flags(overrides)]
    refuse_misspelt(arguments, "`python -m bcc_lightning.fit --help` lists those that are")
    call = Call.read(arguments)
    plan = CrossValidation.of(call)
    summary = cross_validate(plan) if plan else run_experiment(call)
    if summary is None:
        raise UserError("this process only trains along; the first process has the run")
    return find_run(call.tracking, summary.run_id)


def flags(overrides: Mapping[str, Any]) -> list[str]:
    """Write arguments of Python as flags of the command line."""
    found: list[str] = []
    for name, value in overrides.items():
        if isinstance(value, Mapping):
            if "class_path" in value:
                found.append(f"--{name}={value['class_path']}")
            found += [f"--{name}.{key}={text(inner)}" for key, inner in value.items() if key != "class_path"]
        else:
            found.append(f"--{name}={text(value)}")
    return found


def text(value: object) -> str:
    """Write a value as the command line takes it."""
    return str(value) if isinstance(value, str | Path) else json.dumps(value)


def load(source: Source, folder: str = "mlruns") -> TrainedClassifier:
    """Load a trained network.

    Args:
        source: a run, its id or the beginning of it, the name of an experiment (its newest finished run), a checkpoint file, or
            ``models:/NAME@ALIAS``.
        folder: folder of the runs.

    Raises:
        UserError: there is no such run or file.
    """
    return TrainedClassifier.of(network_of(source, folder))


def network_of(source: Source, folder: str) -> TrainedNetwork:
    """Find a trained network; arguments as `load`."""
    if isinstance(source, FinishedRun):
        return of_run_or_folds(source)
    return find_network(Tracking(folder=folder), str(source), folds=True)


def evaluate(source: Source, out: str | Path, folder: str = "mlruns", **options: Any) -> list[Evaluation]:  # noqa: ANN401
    """Evaluate a trained network on its own test set, or on sets that it was not tested on.

    Args:
        source: as `load` takes it.
        out: folder that gets the page, figures and tables.
        folder: folder of the runs.
        **options: ``test_on`` (folders or tables), ``class_map``, ``test_pixel_size``, ``data`` (a data module), ``name``,
            ``file``, ``gallery``; see `bcc_lightning.engine.evaluating.evaluate`.
    """
    return evaluate_network(network_of(source, folder), Path(out), **options)


def compare(sources: Sequence[Source], out: str | Path | None = None, folder: str = "mlruns", **options: Any) -> Comparison:  # noqa: ANN401
    """Compare finished runs on the same cells.

    Args:
        sources: two or more, each as `load` takes it.
        out: folder that gets the page and tables; None for none.
        folder: folder of the runs.
        **options: ``name`` of the set and ``root`` of the data; see `bcc_lightning.engine.comparing.compare`.
    """
    return compare_networks([network_of(one, folder) for one in sources], Path(out) if out else None, **options)


def explain(source: Source, images: Images, out: str | Path, folder: str = "mlruns", **options: Any) -> ExplainedImages:  # noqa: ANN401
    """Write a page for each image: where the network looked, its probabilities, and the most similar training cells.

    Args:
        source: as `load` takes it.
        images: one image or several.
        out: folder that gets the pages.
        folder: folder of the runs.
        **options: ``method``, ``neighbours``, ``root``; see `bcc_lightning.engine.explaining.explain_network`.
    """
    return explain_network(network_of(source, folder), images, Path(out), **options)


def export(source: Source, out: str | Path, folder: str = "mlruns", **options: Any) -> Export:  # noqa: ANN401
    """Write a trained network as a file that others can run.

    Args:
        source: as `load` takes it.
        out: the file.
        folder: folder of the runs.
        **options: ``kind`` (``onnx`` or ``pt2``) and ``precision``; see `bcc_lightning.deployment.export.export`.
    """
    return export_network(network_of(source, folder), Path(out), **options)


def embed(
    data: CellDataModule,
    run: Source | None = None,
    backbone: str | None = None,
    weights: str | None = None,
    out: str | Path | None = None,
    folder: str = "mlruns",
) -> Embedded:
    """Compute the features of all cells of a data set.

    Args:
        data: a data module, such as ``CellFolder(root="cells", image_size=96)``.
        run: a trained network, as `load` takes it; or
        backbone: timm's name of a network, with its published weights.
        weights: file with the backbone's weights instead.
        out: file that gets them, ``.parquet`` or ``.h5``; None for none.
        folder: folder of the runs.

    Raises:
        UserError: neither or both of run and backbone are given, or one cannot be had.
    """
    if (run is None) == (backbone is None):
        raise UserError("give a trained network, run=..., or a backbone, backbone=...; one of the two")
    if backbone is not None:
        extractor = Extractor.of_backbone(backbone, data.image_size, weights=weights)
    else:
        assert run is not None  # noqa: S101 - tells the type checker
        extractor = Extractor.of_network(network_of(run, folder))
    found = embed_cells(data, extractor)
    if out:
        write_features(found, Path(out))
    return found


def probe(features: Embedded, out: str | Path, folds: int | None = None, few_shot: bool = True) -> Probe:
    """Measure how much simple classifiers read from features.

    Args:
        features: from `embed`.
        out: folder of page, tables and figures.
        folds: stratified folds, by default five; 0 takes the data set's own training and test sets, as does a laboratory that is
            left out.
        few_shot: whether few labelled cells are tried as well.
    """
    return probe_features(features, Path(out), folds, few_shot)


def experiments() -> list[str]:
    """List the names of all experiments."""
    return list(experiment_names())


def runs(experiment: str | None = None, folder: str = "mlruns") -> list[FinishedRun]:
    """List the finished runs, the newest first.

    Args:
        experiment: name of an experiment; by default all.
        folder: folder of the runs.
    """
    return finished_runs(Tracking(folder=folder), experiment)
