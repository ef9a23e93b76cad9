"""Trained networks by name: members of an ensemble, and networks whose weights a new training starts from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.metrics import in_words
from bcc_lightning.files import read_mapping
from bcc_lightning.safe_names import file_name
from bcc_lightning.tracking.finished_runs import FinishedRun, find_run, folder_of, open_for_reading, sets_in
from bcc_lightning.tracking.run_files import Summary, read_summary, refuse_missing_checkpoint
from bcc_lightning.tracking.settings import Tracking

REGISTERED = "models:/"


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network and what is known of its training.

    Attributes:
        name: how it is found again: a run id, or the path of a checkpoint as it was given, so that it may move with the project.
        title: what people call it: experiment and beginning of the run id, or the file.
        checkpoint: its weights, a local file.
        config: resolved configuration of its run; None for a checkpoint without a run.
        summary: figures of its run; None likewise.
        run: its run; None for a checkpoint file.
        folds: the networks of a cross-validation, whose parent run has none of its own; together they are what it stands for.
    """

    name: str
    title: str
    checkpoint: Path
    config: dict[str, Any] | None = None
    summary: Summary | None = None
    run: FinishedRun | None = None
    folds: "tuple[TrainedNetwork, ...]" = ()

    @property
    def facts(self) -> dict[str, str]:
        """What its run recorded of the data, such as ``data.sha256``; empty for a checkpoint without a run."""
        return self.summary.data if self.summary else {}

    def differing_parts(self, identity: Mapping[str, str]) -> list[str]:
        """List the components of its data, such as ``labels``, whose hashes differ from those of other data."""
        own = self.summary.identity if self.summary else {}
        return [name for name, value in own.items() if identity.get(name, value) != value]

    @property
    def run_id(self) -> str | None:
        """MLflow's id of its run; None for a checkpoint without a run."""
        return self.summary.run_id if self.summary else None

    @property
    def evaluated_sets(self) -> list[str]:
        """Names of the sets that it has filed predictions of; none for a checkpoint without a run.

        Raises:
            UserError: a server does not tell.
        """
        if self.folds:
            common = set.intersection(*(set(fold.evaluated_sets) for fold in self.folds))
            return sorted(common | set(self.run.evaluated_sets if self.run else ()))
        if self.run:
            return self.run.evaluated_sets
        folder = folder_of(self.checkpoint)
        return sets_in(folder.artifacts) if folder else []

    def predictions(self, name: str = "test") -> pd.DataFrame:
        """Read what it answered for a set of its run: ``id``, ``label``, and a column of probabilities per class.

        Of a cross-validation the answers of all folds, each for cells that it was not trained on; for a set that it was evaluated
        on later, what the folds answered together.

        Args:
            name: ``test``, ``validation`` or a further test set.

        Raises:
            UserError: it belongs to no run, or the run has no such predictions.
        """
        if self.folds and not (self.run and self.run.has(f"predictions/{file_name(name)}.parquet")):
            return pd.concat([fold.predictions(name) for fold in self.folds], ignore_index=True)
        if self.run:
            return pd.read_parquet(self.run.predictions(name))
        folder = folder_of(self.checkpoint)
        if folder is None or not (file := folder.predictions(name)).is_file():
            raise UserError(f"{self.title} has no predictions of {in_words(name)}; name a run that has, with --run")
        return pd.read_parquet(file)


def find_network(tracking: Tracking, wanted: str, folds: bool = False) -> TrainedNetwork:
    """Find a trained network.

    Args:
        tracking: the store.
        wanted: a checkpoint file, ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``, a run id or its beginning, or the name
            of an experiment, which means its newest finished run.
        folds: whether a cross-validation is a network too: its folds, which vote.

    Raises:
        UserError: there is none, or something that belongs to it is missing.
    """
    describe = of_run_or_folds if folds else of_run
    if wanted.startswith(REGISTERED):
        return describe(registered_run(tracking, wanted))
    if wanted.endswith(".ckpt") or Path(wanted).is_file():
        return of_file(Path(wanted))
    return describe(find_run(tracking, wanted))


def of_run(run: FinishedRun) -> TrainedNetwork:
    """Describe the network of a run."""
    return TrainedNetwork(run.run_id, title_of(run), run.checkpoint, run.config, run.summary, run)


def of_run_or_folds(run: FinishedRun) -> TrainedNetwork:
    """Describe the network of a run, or those of the folds of a cross-validation."""
    if not run.summary.folds:
        return of_run(run)
    folds = tuple(of_run(find_run(run.tracking, fold["run_id"])) for fold in run.summary.folds)
    title = f"{len(folds)} folds of {title_of(run)}"
    return TrainedNetwork(run.run_id, title, folds[0].checkpoint, run.config, run.summary, run, folds)


def title_of(run: FinishedRun) -> str:
    """Name a run for people: experiment and beginning of the id."""
    return f"{run.experiment} ({run.run_id[:8]})"


def of_file(checkpoint: Path) -> TrainedNetwork:
    """Describe the network in a checkpoint; for one among the files of its run, configuration and summary are read too.

    Raises:
        UserError: the file does not exist.
    """
    refuse_missing_checkpoint(checkpoint)
    folder = folder_of(checkpoint)
    if folder is None:
        return TrainedNetwork(str(checkpoint), checkpoint.name, checkpoint)
    summary = read_summary(folder.summary)
    config = read_mapping(folder.config, "the configuration of a run")
    return TrainedNetwork(str(checkpoint), f"{summary.experiment} ({summary.run_id[:8]})", checkpoint, config, summary)


def registered_run(tracking: Tracking, wanted: str) -> FinishedRun:
    """Find the run that a registered model came from.

    Raises:
        UserError: there is no such model or version, or it belongs to no run.
    """
    client = open_for_reading(tracking)
    version = model_version(client, wanted)
    if not version.run_id:
        raise UserError(f"{wanted} was registered without a run; name a run or a checkpoint")
    return find_run(tracking, str(version.run_id))


def model_version(client: MlflowClient, wanted: str) -> ModelVersion:
    """Look up ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``."""
    path = wanted.removeprefix(REGISTERED)
    name, _, alias = path.partition("@")
    try:
        if alias:
            return client.get_model_version_by_alias(name, alias)
        name, _, number = path.rpartition("/")
        return client.get_model_version(name, number)
    except MlflowException as error:
        known = ", ".join(
            f"{REGISTERED}{m.name}/{v.version}" for m in client.search_registered_models() for v in m.latest_versions
        )
        raise UserError(
            f"registered model '{wanted}' does not exist ({error!s:.150}); write models:/NAME/VERSION or models:/NAME@ALIAS. "
            f"There are: {known or 'none'}"
        ) from error


def find_starts(tracking: Tracking, arguments: dict[str, Any]) -> dict[str, TrainedNetwork]:
    """Find the networks that a module's arguments name.

    Args:
        tracking: the store.
        arguments: arguments of the module. Those that end in ``weights`` count, of the whole network or of a branch. A file
            stands for itself; what has no file's suffix is a run, an experiment or a registered model, see `find_network`.

    Returns:
        By argument, those that are named.

    Raises:
        UserError: there is no such run.
    """
    named = {name: str(value) for name, value in arguments.items() if name.endswith("weights") and value}
    files = {name: of_file(Path(file)) for name, file in named.items() if Path(file).is_file()}
    runs = {name: find_network(tracking, run) for name, run in named.items() if name not in files and is_run(run)}
    return files | runs


def is_run(wanted: str) -> bool:
    """Check whether a name means a run, an experiment or a registered model, and not the path of a file, which may not exist."""
    return wanted.startswith(REGISTERED) or not (Path(wanted).suffix or "/" in wanted)


def refuse_another_split(sources: Iterable[TrainedNetwork], facts: dict[str, str], identity: dict[str, str]) -> None:
    """Refuse networks that were trained on the same cells in another split: they may have learnt cells of the test set.

    The cells are the same where their pixels are, whatever has become of labels, groups and weights.

    Args:
        sources: the networks.
        facts: facts of the data to train on, see `CellDataModule.facts`.
        identity: hashes of its components, see `CellDataModule.identity`.

    Raises:
        UserError: with both splits, or the few cells of another laboratory that a network was trained on.
    """
    for source in sources:
        few = source.summary.identity.get("few_shot") if source.summary else None
        if few not in (None, identity.get("few_shot")):
            raise UserError(
                f"{source.title} was trained on {source.facts['data.few_shot']}, which may be among the test cells. Next step: "
                "start from the network that it started from, or take its --data.few_shot and --data.split_seed"
            )
        seen = source.summary.data if source.summary else {}
        pixels = source.summary.identity.get("pixels") if source.summary else None
        is_same = seen.get("data.sha256") == facts["data.sha256"] or pixels == identity["pixels"]
        if is_same and seen.get("split.sha256") != facts["split.sha256"]:
            raise UserError(
                f"{source.title} was trained on the same data in another split (split.sha256 "
                f"{seen.get('split.sha256', 'unknown')[:12]}, not {facts['split.sha256'][:12]}), so it may have learnt cells of "
                "the test set. Next step: --data.split_file with the split.csv of that run, or train it again"
            )


MUST_AGREE = {"data.sha256": "data set", "split.sha256": "split"}

FEWEST = 2


def find_members(tracking: Tracking, wanted: list[str]) -> list[TrainedNetwork]:
    """Find the members of an ensemble.

    Args:
        tracking: the store.
        wanted: run ids, names of experiments, checkpoint files, registered models.

    Raises:
        UserError: one does not exist, is named twice, or there are fewer than two.
    """
    sources = [find_network(tracking, name) for name in wanted]
    if len(sources) < FEWEST:
        raise UserError(f"an ensemble has two members or more, not {len(sources)}; name them with --run ID or --checkpoint FILE")
    if len({source.checkpoint.resolve() for source in sources}) < len(sources):
        titles = ", ".join(source.title for source in sources)
        raise UserError(f"a member is named twice: {titles}; its weight would count double")
    return sources


def refuse_disagreement(sources: list[TrainedNetwork], facts: dict[str, str], identity: dict[str, str]) -> None:
    """Refuse members that were trained on other cells than the ensemble is tested on, or on another split of them.

    A member that saw test cells of the others would make the ensemble's test figure worthless.

    Args:
        sources: the members.
        facts: facts of the ensemble's data, see `CellDataModule.facts`.
        identity: hashes of its components, see `CellDataModule.identity`.

    Raises:
        UserError: with the fact in which they differ, and both values.
    """
    for source in sources:
        if source.summary is None:
            continue
        its = source.summary.data
        for fact, what in MUST_AGREE.items():
            if its.get(fact) != facts[fact]:
                differing = source.differing_parts(identity)
                parts = f" (its {', '.join(differing)} differ)" if differing else ""
                raise UserError(
                    f"{source.title} has another {what} than the ensemble{parts}: {describe(its, fact)}, "
                    f"not {describe(facts, fact)}. Next step: train all members on the same file and the same split, "
                    "e.g. with --data.split_file and the split.csv of one of them"
                )


def describe(facts: dict[str, str], fact: str) -> str:
    """Describe data: the hash, the name of the data set, and how many cells are in which set."""
    return f"{fact} {facts.get(fact, 'unknown')[:12]} ({facts.get('data.name')}, {facts.get('data.cells')})"


def unknown_training(sources: list[TrainedNetwork]) -> str | None:
    """Warn of members of which nothing says which cells they were trained on."""
    unknown = [source.name for source in sources if source.summary is None]
    if not unknown:
        return None
    return (
        f"it is not known which cells {', '.join(unknown)} was trained on; if there are test cells among them, "
        "the ensemble's test figures mean nothing"
    )
