"""The page of MLflow on which a person lands: the runs of an experiment, with the columns that matter, and with curves first.

MLflow's page takes its columns from a tag of the experiment that its address names, as its own button "Share" does. A key in the
address of where to sort by would make it ignore that tag, so that the newest run comes first, as by default.
"""

import json
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Experiment

VIEW = "bcc_lightning"
"""Name of the view in the page's address."""

TAG = f"mlflow.sharedViewState.{VIEW}"

INTERVAL, FURTHER, PRETRAINED, SECONDS = "interval", "balanced accuracy elsewhere", "pretrained", "seconds"
"""Tags and the metric of a run that only its columns need."""

PINNED = {"attributes.`Run Name`": 300, "runDateAndNestInfo": 120}
"""What MLflow shows on the left of every row, and how wide it is."""

COLUMNS = {
    "metrics.`test/accuracy`": 85,
    f"tags.`{INTERVAL}`": 110,
    f"tags.`{FURTHER}`": 150,
    "attributes.`Dataset`": 120,
    "tags.`data.resolution`": 70,
    f"tags.`{PRETRAINED}`": 70,
    f"metrics.`{SECONDS}`": 60,
}
"""Columns in their order, and how wide they are: together they fit on a screen of 1920 pixels beside MLflow's panels."""

CURVES = {"val": ("accuracy", "loss"), "train": ("loss",)}
"""Sections of charts that come first, and curves in them. MLflow adds charts of all other metrics, in sections by prefix."""


def view_state() -> dict[str, Any]:
    """Return the view as MLflow's page stores it; what it leaves out is as MLflow has it."""
    widths = PINNED | COLUMNS
    return {
        **{"selectedColumns": [*COLUMNS], "columnOrder": [*widths], "columnWidths": widths},
        "compareRunCharts": [curve(section, name) for section, names in CURVES.items() for name in names],
        "compareRunSections": [
            {"uuid": section, "name": section, "display": True, "isReordered": False, "deleted": False, "isGenerated": True}
            for section in CURVES
        ],
        "isAccordionReordered": True,  # otherwise MLflow sorts the sections by name: that of the test would be first
    }


def curve(section: str, name: str) -> dict[str, Any]:
    """Return a chart of a metric over the epochs as MLflow's page stores it."""
    metric = f"{section}/{name}"
    return {
        **{"type": "LINE", "uuid": metric, "metricSectionId": section, "metricKey": metric, "displayName": name},
        **{"runsCountToCompare": 10, "deleted": False, "isGenerated": True, "lineSmoothness": 0, "range": {}},
        **{"xAxisScaleType": "linear", "scaleType": "linear", "xAxisKey": "step", "selectedXAxisMetricKey": ""},
        **{"yAxisKey": "metric", "yAxisExpressions": [], "ignoreOutliers": False},
        **{"useGlobalXaxisKey": True, "useGlobalLineSmoothing": True},
    }


def offer_view(client: MlflowClient, experiment: Experiment) -> None:
    """Store the view in an experiment, unless it is there."""
    state = json.dumps(view_state())
    if experiment.tags.get(TAG) != state:
        client.set_experiment_tag(experiment.experiment_id, TAG, state)


def landing_page(server: str, experiment_id: str) -> str:
    """Return the address of an experiment's runs.

    Args:
        server: address of an MLflow server.
        experiment_id: which experiment.
    """
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={VIEW}"
