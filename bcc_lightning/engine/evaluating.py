"""Evaluate a finished run: assess a set, write the page, and file what is new in the run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bcc_lightning.engine.assessing import Assessor, EvaluatedSet, refuse_other_cells, refuse_own_names
from bcc_lightning.engine.evaluation_page import write_evaluation
from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.assessment import Assessment
from bcc_lightning.evaluation.metrics import metrics_of
from bcc_lightning.printable import printable
from bcc_lightning.safe_names import file_name
from bcc_lightning.tracking.additions import add_files, add_metrics
from bcc_lightning.tracking.trained_networks import TrainedNetwork


def evaluate_network(
    network: TrainedNetwork,
    out: Path,
    data: Mapping[str, Any] | None = None,
    test_on: list[str] | None = None,
    class_map: Mapping[str, str] | None = None,
    name: str | None = None,
    file: bool = True,
) -> list[Assessment]:
    """Evaluate a network on its own test set, or on sets that it was not tested on.

    Args:
        network: the network.
        out: folder that gets page, figures and tables.
        data: class and arguments of a data module, ``class_path`` and ``init_args``, whose test set is evaluated.
        test_on: further test sets: folders of class folders, or tables.
        class_map: their classes, and what the network calls them.
        name: name of the set; by default that of its folder.
        file: whether to file figures of further sets in the run.

    Returns:
        The sets that were asked for, then the network's own test set if it has one.

    Raises:
        UserError: a set cannot be read, has other classes, or holds cells that the network was trained on.
    """
    assessor = Assessor(network)
    further: list[EvaluatedSet] = []
    if data:
        further = [assessor.data_set(data["class_path"], {**data["init_args"]}, name)]
    elif test_on:
        further = assessor.further_sets(test_on, class_map or {})
        if name and len(further) == 1:
            further[0].name = name
    for one in further:
        refuse_own_names(one.name)
        if file:
            refuse_other_cells(network, one)
    sets = [(one, assessor.assess(one)) for one in (*further, *own_test(assessor, needed=not further))]
    write_evaluation(assessor, sets, out)
    for one, found in sets[: len(further)]:
        print_assessment(found)
        if file:
            file_assessment(network, one, found, out)
    for _, found in sets[len(further) :]:
        print_assessment(found)
    print(printable(f"written to {out / 'evaluation.html'}"))
    return [found for _, found in sets]


def own_test(assessor: Assessor, needed: bool) -> list[EvaluatedSet]:
    """Return the network's own test set, beside which further sets are shown; none for a checkpoint without a run."""
    try:
        return [assessor.own_test(images=needed)]
    except UserError:
        if needed:
            raise
        return []


def file_assessment(network: TrainedNetwork, one: EvaluatedSet, found: Assessment, out: Path) -> None:
    """File the figures of a further set in the run, beside its own."""
    if network.run is None:
        print(f"not filed: {network.title} belongs to no run; name one with --run")
        return
    written = f"{file_name(one.name)}.parquet"
    add_files(network.run, out, f"evaluation/{file_name(one.name)}")
    add_files(network.run, out / "predictions", "predictions", only={written})
    add_metrics(network.run, metrics_of(one.name, {f"test/{key}": value for key, value in found.metrics.items()}))


def print_assessment(found: Assessment) -> None:
    """Print the figures of a set in a line, and what is to be known of them."""
    low, high = found.intervals["accuracy"]
    worse = " - NO BETTER THAN THAT" if found.is_useless else ""
    print(
        printable(
            f"{found.title}: accuracy {found.accuracy:.4f} (95 % interval {low:.4f} to {high:.4f}; most frequent class "
            f"{found.most_frequent:.4f}{worse}), balanced accuracy {found.metrics['recall_macro']:.4f}, "
            f"{len(found.predictions.label):,} cells"
        )
    )
    for text in (*found.warnings, *found.notes):
        print(printable(f"  {text}"))
