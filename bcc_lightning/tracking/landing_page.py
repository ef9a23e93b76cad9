"""The page of MLflow on which a person lands: the runs of an experiment, with the columns that matter.

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

COLUMNS = {
    "attributes.`Run Name`": 330,
    "metrics.`test/accuracy`": 110,
    f"tags.`{INTERVAL}`": 130,
    f"tags.`{FURTHER}`": 200,
    "attributes.`Dataset`": 190,
    "tags.`data.resolution`": 120,
    f"tags.`{PRETRAINED}`": 130,
    f"metrics.`{SECONDS}`": 80,
}
"""Columns in their order, and how wide they are."""


def view_state() -> dict[str, Any]:
    """Return the view as MLflow's page stores it; what it leaves out is as MLflow has it."""
    return {"selectedColumns": [*COLUMNS], "columnOrder": [*COLUMNS], "columnWidths": dict(COLUMNS)}


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
