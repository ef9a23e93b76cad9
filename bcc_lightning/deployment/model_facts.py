"""What a user of a served network must know of it: classes, origin, figures, intended use and limits."""

import re
from pathlib import Path
from typing import Any

from bcc_lightning.explanation.choices import DEFAULT_METHOD
from bcc_lightning.explanation.methods import METHODS
from bcc_lightning.modules.assumed_shares import ASSUMES_BLOOD
from bcc_lightning.prediction.classifier import TrainedClassifier
from bcc_lightning.safe_names import column_name, metric_of_key
from bcc_lightning.tracking.description import INTENDED_USE, VOTE, limits_of_any
from bcc_lightning.tracking.trained_networks import TrainedNetwork

ACCURACY = "test/accuracy"

FURTHER = re.compile(r"test_on/(.+)/accuracy")


def model_facts(classifier: TrainedClassifier) -> dict[str, Any]:
    """Describe a trained network.

    Returns:
        ``classes``, ``columns`` (name of the column of each class in a table), ``title``, ``run_id``, ``experiment``,
        ``architecture``, ``image_size`` (pixels that the network takes), ``read_at`` (side to which images are brought first),
        ``crop``, ``views``, ``map``, ``data`` and ``figures`` (None for a checkpoint without a run), ``intended_use`` and
        ``limitations``, sentences.
    """
    network, module = classifier.network, classifier.module
    summary = network.summary if network else None
    return {
        "title": network.title if network else type(module).__name__,
        "run_id": network.run_id if network else None,
        "experiment": summary.experiment if summary else None,
        "architecture": type(module).__name__,
        "classes": classifier.class_names,
        "columns": {name: column_name(name) for name in classifier.class_names},
        "image_size": module.image_size,
        "read_at": classifier.side,
        "crop": classifier.crop,
        "views": module.test_views,
        "map": METHODS[DEFAULT_METHOD].title,
        "data": data_facts(network) if network and summary else None,
        "figures": figures(network),
        "intended_use": INTENDED_USE,
        "limitations": limitations(classifier),
    }


def data_facts(network: TrainedNetwork) -> dict[str, str | None]:
    """Describe the data set of a run: name, name of the folder or file, hash, resolution and number of cells."""
    facts = (network.folds[0] if network.folds else network).facts
    root = (((network.config or {}).get("data") or {}).get("init_args") or {}).get("root")
    return {
        "name": facts.get("data.name"),
        "folder": Path(root).name if root else None,  # the whole path is nobody's business
        "sha256": facts.get("data.sha256"),
        "resolution": facts.get("data.resolution"),
        "cells": facts.get("data.cells"),
    }


def figures(network: TrainedNetwork | None) -> dict[str, Any] | None:
    """Return the test accuracy with its 95 % interval, beside that of always answering the most frequent class.

    Under ``elsewhere`` the same for the further sets that the network was tested on. None where it was not tested.
    """
    summary = network.summary if network else None
    if network is None or summary is None or ACCURACY not in summary.metrics:
        return None
    interval = summary.intervals.get(ACCURACY)
    return {
        "accuracy": summary.metrics[ACCURACY],
        "interval": list(interval) if interval else None,
        "most_frequent": summary.metrics.get("test/most_frequent"),
        "calibration_error": summary.metrics.get("test/ece"),
        "elsewhere": elsewhere(network, summary.metrics),
    }


def elsewhere(network: TrainedNetwork, metrics: dict[str, float]) -> list[dict[str, Any]]:
    """List the accuracy on further sets, also on those that the network was tested on after its run."""
    later = network.run.run.data.metrics if network.run else {}
    known = metrics | {metric_of_key(key): value for key, value in later.items()}
    names = [found[1] for found in map(FURTHER.fullmatch, known) if found and found[1] not in {"test", "validation"}]
    return [
        {"name": name, "accuracy": known[f"test_on/{name}/accuracy"], "most_frequent": known.get(f"test_on/{name}/most_frequent")}
        for name in sorted(names)
    ]


def limitations(classifier: TrainedClassifier) -> list[str]:
    """List what the network cannot do, or what is not known of it."""
    summary = classifier.network.summary if classifier.network else None
    found = limits_of_any(len(classifier.class_names))
    if classifier.module.assumed_shares is not None:
        found.insert(0, ASSUMES_BLOOD)
    if summary is None:
        return ["Nothing is known of its training: neither the cells nor the accuracy.", *found]
    if figures(classifier.network) is None:
        found.insert(0, "It was not evaluated on a test set: its accuracy is not known.")
    else:
        source = "It was tested on cells of the same source as the training cells. "
        found.insert(0, source + "The figure says nothing about cells of another laboratory, scanner or stain.")
    if summary.folds:
        found.append(VOTE)
    return [*found, *summary.warnings, *summary.notes]


def described(classifier: TrainedClassifier) -> str:
    """Describe a network in one line: its title, and what its test gave."""
    title = classifier.network.title if classifier.network else repr(classifier)
    found = figures(classifier.network)
    if found is None:
        return f"{title}: its accuracy is not known"
    low_high = " (95 % {:.1f} to {:.1f})".format(*(100 * value for value in found["interval"])) if found["interval"] else ""
    frequent = found["most_frequent"]
    beside = f", always answering the most frequent class {100 * frequent:.1f} %" if frequent is not None else ""
    return f"{title}: test accuracy {100 * found['accuracy']:.1f} %{low_high}{beside}"
