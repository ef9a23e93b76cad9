"""One network evaluated on one set after another: the answers, their figures, and the files of both."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from tqdm import tqdm

from bcc_lightning.architectures.contamination import contamination
from bcc_lightning.datamodules.base import CellDataModule
from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.engine.adapting import adapt_network
from bcc_lightning.engine.comparable import by_cell
from bcc_lightning.engine.drawing import predictions_table
from bcc_lightning.engine.evaluation_page import EvaluatedSet, Look, shown_cells, write_page
from bcc_lightning.engine.further_sets import FurtherSet, at_side
from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.assessment import Assessment, assess, read_predictions
from bcc_lightning.evaluation.assessment_figures import ShownCell
from bcc_lightning.evaluation.metrics import TEST, VALIDATION, Predictions, final_metrics, metrics_of
from bcc_lightning.files import whole_file, write_json
from bcc_lightning.modules.checkpoint import load_classifier
from bcc_lightning.prediction.adaptation import MOST, Adaptation, AdaptedClassifier, assumptions, refuse_blood
from bcc_lightning.prediction.choices import Method
from bcc_lightning.prediction.classifier import TrainedClassifier
from bcc_lightning.safe_names import file_name
from bcc_lightning.tracking.additions import add_to_run
from bcc_lightning.tracking.trained_networks import TrainedNetwork

PAGE, FIGURES, ANSWERS = "evaluation.html", "evaluation.json", "predictions.parquet"
"""Files of an evaluation in its folder."""

FILED_PAGE, FILED_ANSWERS = (PAGE, FIGURES), (ANSWERS,)
"""Those that are filed below ``evaluation/`` and ``predictions/``, under the name of the set."""


def adapted_by(methods: Sequence[Method]) -> str:
    """Return what stands behind the name of a set to which a network was adapted; each way of adapting files its own results."""
    return "-".join(("-adapted", *methods))


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of one set.

    Attributes:
        assessment: its figures.
        own_test: those of the run's own test set, beside which a further set stands; None where it is that set, or there is none.
        folder: where ``evaluation.html``, ``evaluation.json`` and ``predictions.parquet`` are.
        filed: a sentence that says where in MLflow it was filed, or why it was not.
        notices: what was left out, and what else is to be known of the set.
    """

    assessment: Assessment
    own_test: Assessment | None
    folder: Path
    filed: str
    notices: tuple[str, ...] = ()


class Evaluator:
    """Evaluates a network, always beside its own test.

    Args:
        network: the network.
        own: the data that it was trained on; a sentence where they are not here.
        gallery: whether cells are drawn.
        methods: how it is adapted to further sets.
    """

    def __init__(self, network: TrainedNetwork, own: CellDataModule | str, gallery: bool, methods: Sequence[Method] = ()) -> None:
        self.methods = methods
        self.network = network
        self.own = own
        self.gallery = gallery
        self.parts = network.folds or (network,)

    def on_own_test(self, folder: Path, file: bool) -> Evaluation:
        """Evaluate what the network answered in its own test.

        Raises:
            UserError: it was never tested, or its answers are gone.
        """
        test, table = self.own_test()
        filed = self.write(folder, [test], table, {}, {"evaluation/test": FILED_PAGE} if file else {})
        return Evaluation(test.assessment, None, folder, filed)

    def own_test(self) -> tuple[EvaluatedSet, pd.DataFrame]:
        """Read what the network answered in its own test, and assess it; raises as `on_own_test`."""
        tables = [part.predictions(TEST) for part in self.parts]
        answers = pd.concat(tables, ignore_index=True)
        is_repeated = answers["id"].duplicated()  # by folds that share a test set, or that are drawn several times over
        table = by_cell(answers).reset_index()
        predictions, class_names = read_predictions(table)
        assessment = assess(TEST, predictions, self.validation(), class_names)
        data = self.network.facts.get("data.name", "its data")
        read = f"The answers that the run filed in its test, on {len(table):,} cells of {data}."
        if self.network.folds:
            read += f" Those of {len(self.parts)} folds are pooled: each answered for cells that it was not trained on."
        if is_repeated.any():
            read += (
                " Where several answered for the same cell, their probabilities are averaged, and the map is that of the first."
            )
        part = np.repeat(np.arange(len(tables)), list(map(len, tables)))[~is_repeated]
        look = self.look_at_own(list(table["id"]), part, predictions, class_names)
        return EvaluatedSet("Own test set", read, (), assessment, predictions, look), table

    def validation(self) -> Predictions | None:
        """Read the answers for the validation set; None where none were filed."""
        try:
            return read_predictions(self.network.predictions(VALIDATION))[0]
        except UserError:
            return None

    def look_at_own(
        self, ids: list[str], part: npt.NDArray[np.int64], predictions: Predictions, class_names: list[str]
    ) -> Look | str:
        """Prepare the gallery of the own test set; `part` is the fold that explains each cell (N,), `ids` are their names."""
        if isinstance(self.own, str) or not self.gallery:
            reason = self.own if self.gallery else "images were not requested"
            return f"No cells are drawn: {reason}"
        cells = self.own.cells
        places = {cell: row for row, cell in enumerate(cells.ids)}

        def look(rows: Sequence[int]) -> list[ShownCell]:
            """Draw cells, each with the map of the network that answered for it."""
            found: dict[int, ShownCell] = {}
            for number in np.unique(part[list(rows)]).tolist():
                these = [row for row in rows if part[row] == number]
                pixels = cells.take(np.array([places[ids[row]] for row in these]))
                module = load_classifier(self.parts[number].checkpoint)
                found |= dict(zip(these, shown_cells(module, pixels, predictions, these, class_names), strict=True))
            return [found[row] for row in rows]

        return look

    def on_further(self, one: FurtherSet, classifier: TrainedClassifier, folder: Path, file: bool) -> Evaluation:
        """Classify the cells of a further set, and evaluate the answers."""
        names = classifier.class_names
        refuse_blood(classifier, self.methods)
        before, notices = [], [*assumptions(classifier, self.methods), *one.notices, *self.further_notices(one.name)]
        if self.methods:
            title = f"{one.name.removesuffix(adapted_by(self.methods))}, before adaptation"
            plain = classify(classifier, one.cells, one.name)
            unadapted = assess(title, plain, self.validation(), names)
            before = [EvaluatedSet(title, one.read, (), unadapted, plain, "No cells are drawn of the network before adaptation.")]
            classifier = self.adapted(classifier, one.cells)
            notices = [*describe_adaptation(classifier.adaptation), *notices]
        predictions = classify(classifier, one.cells, one.name)
        assessment = assess(one.name, predictions, self.validation(), names)

        def look(rows: Sequence[int]) -> list[ShownCell]:
            """Draw cells with their maps."""
            pixels = at_side(one.cells.take(np.array(rows)), classifier.side)
            return shown_cells(classifier.module, pixels, predictions, rows, names)

        shown = EvaluatedSet(
            one.name,
            one.read,
            tuple(notices),
            assessment,
            predictions,
            look if self.gallery else "No cells are drawn: images were not requested",
        )
        try:
            own = [self.own_test()[0]]
        except UserError:
            own = []
        table = predictions_table(predictions, one.cells.ids, names)
        metrics = metrics_of(one.name, final_metrics(predictions, names))
        name = file_name(one.name)
        targets = {f"evaluation/{name}": FILED_PAGE, f"predictions/{name}": FILED_ANSWERS} if file else {}
        more: dict[str, Any] = {"cells_sha256": one.sha256}
        if isinstance(classifier, AdaptedClassifier):
            more |= {"adaptation": asdict(classifier.adaptation), "before": before[0].assessment.as_dict()}
        filed = self.write(folder, [shown, *before, *own], table, metrics, targets, more)
        return Evaluation(assessment, own[0].assessment if own else None, folder, filed, tuple(notices))

    def adapted(self, classifier: TrainedClassifier, cells: CellImages) -> AdaptedClassifier:
        """Adapt the network to the pixels of some of the cells, and to nothing else."""
        rows = np.arange(len(cells))
        if len(rows) > MOST:
            rows = np.sort(np.random.default_rng(0).choice(rows, MOST, replace=False))
        return adapt_network(self.network, classifier, at_side(cells.take(rows), classifier.side), self.methods)

    def further_notices(self, name: str) -> list[str]:
        """Describe what a reader of a further set's figures should know of this network."""
        summary = (self.network.folds or (self.network,))[0].summary
        found = contamination(summary.weights.values() if summary else (), [name])
        if isinstance(self.own, str):
            found.append(f"Whether the network was trained on these cells could not be checked: {self.own}")
        if self.network.folds:
            found.append(
                f"The {len(self.parts)} folds vote. Temperature and prediction sets were fitted on the folds' answers for their "
                "own validation cells, not on votes."
            )
        return found

    def write(
        self,
        folder: Path,
        sets: list[EvaluatedSet],
        table: pd.DataFrame,
        metrics: dict[str, float],
        targets: dict[str, tuple[str, ...]],
        more: dict[str, Any] | None = None,
    ) -> str:
        """Write the files of an evaluation, and file them in the network's run; returns a sentence on the filing.

        Args:
            folder: where they are written.
            sets: the evaluated set and, behind a further set, the own test set.
            table: predictions of the evaluated set.
            metrics: what is logged.
            targets: path below the run's artifacts, without suffix, to the names of the files that are filed there; empty to
                leave the run alone.
            more: further entries of ``evaluation.json``.
        """
        first, own = sets[0], sets[1:]
        content = {
            **first.assessment.as_dict(),
            "network": self.network.title,
            "run_id": self.network.run_id,
            "read": first.read,
            "notices": list(first.notices),
            "cells_sha256": None,
            "own_test": own[-1].assessment.as_dict() if own and own[-1].assessment.name == TEST else None,
            **(more or {}),
        }
        test_time = self.network.summary.test_time if self.network.summary else None
        write_page(folder / PAGE, self.network.title, self.network.run_id, sets, test_time, adapted=bool(self.methods))
        with whole_file(folder / ANSWERS) as draft:
            table.to_parquet(draft, index=False)
        write_json(folder / FIGURES, content)
        run = self.network.run
        if not targets:
            return "Not filed, as wished."
        if run is None:
            return "Not filed: a checkpoint alone belongs to no run. To file it, name the run with --run."
        files = {f"{target}{Path(name).suffix}": folder / name for target, names in targets.items() for name in names}
        add_to_run(run, files, metrics)
        return f"Filed in run {run.run_id}: {', '.join(files)}{f', metrics {metrics_of_set(metrics)}' if metrics else ''}."


def describe_adaptation(adaptation: Adaptation) -> list[str]:
    """Describe in sentences what a network was adapted to."""
    shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in adaptation.shares.items())
    return [
        f"{adaptation} Temperature and prediction sets were fitted before that, on the network's own validation set.",
        *([f"{'Estimated' if 'prior' in adaptation.methods else 'Assumed'} shares of the classes: {shares}."] if shares else []),
    ]


def metrics_of_set(metrics: Mapping[str, float]) -> str:
    """Describe metrics by the beginning that their names share."""
    return f"{next(iter(metrics)).rpartition('/')[0]}/*"


def classify(classifier: TrainedClassifier, cells: CellImages, what: str) -> Predictions:
    """Classify cells in their order, as `TrainedClassifier.predict` does with their files."""
    size = classifier.batch_size
    found = []
    with tqdm(total=len(cells), desc=f"classifying {what}", disable=None, leave=False) as bar:
        for start in range(0, len(cells), size):
            pixels = at_side(cells.take(slice(start, start + size)), classifier.side)
            found.append(classifier.classify(np.array(pixels)))
            bar.update(len(pixels))
    return Predictions(torch.arange(len(cells)), torch.from_numpy(np.array(cells.labels, np.int64)), torch.cat(found))
