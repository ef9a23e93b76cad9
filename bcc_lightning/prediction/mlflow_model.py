"""The MLflow model of a finished run: it fills MLflow's list of models, and its registry where the run is to be registered."""

import base64
import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from platform import python_version
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import yaml
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from packaging.requirements import Requirement
from requests import RequestException

from bcc_lightning.datasets.smear_painter import paint_cells
from bcc_lightning.errors import UserError, fault_of
from bcc_lightning.files import link_whole
from bcc_lightning.prediction import pyfunc
from bcc_lightning.processes import interruption_held
from bcc_lightning.safe_names import column_name
from bcc_lightning.tracking.filing import headline
from bcc_lightning.tracking.finished_runs import find_run
from bcc_lightning.tracking.place import local_path
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.run_files import RunFolder, Summary
from bcc_lightning.tracking.settings import NOT_IN_NAMES
from bcc_lightning.tracking.store import is_served

NETWORKS = "networks"
"""Folder of a model with a folder for each network: one, or the folds of a cross-validation, which vote."""

EXAMPLE, SERVED_EXAMPLE = "input_example.json", "serving_input_example.json"

BEST = "checkpoints/best.ckpt"

DISTRIBUTION = "bcc-lightning"


def log_model(run: TrackedRun, summary: Summary, class_names: Sequence[str]) -> str | None:
    """Log the network of a finished run as an MLflow model, and register it under `Tracking.register`.

    Where artifacts are kept on this machine the checkpoint is not copied: it is the run's own file under a second name.

    Args:
        run: the run, which has been filed.
        summary: its figures.
        class_names: names of the C classes.

    Returns:
        How the model is registered; None if it is not.

    Raises:
        UserError: the model could not be logged or registered. The run is filed all the same.
    """
    tracking, client, what = run.tracking, run.client, "logged"
    if not tracking.log_model:
        return None
    try:
        with interruption_held():
            outputs = client.get_run(run.run_id).outputs
            if outputs and outputs.model_outputs:  # a run that is sent again
                return None
            tags = {"mlflow.note.content": headline(summary)}
            model = client.create_logged_model(run.experiment_id, model_name(summary.experiment), run.run_id, tags)
            try:
                store(client, model, artifact_folders(run, summary), class_names)
            except Exception:
                with suppress(MlflowException):
                    client.finalize_logged_model(model.model_id, "FAILED")
                raise
            client.finalize_logged_model(model.model_id, "READY")
            client.log_outputs(run.run_id, [LoggedModelOutput(model.model_id, 0)])
            what = "registered"
            return register(run, tracking.register, model, summary) if tracking.register else None
    except (MlflowException, RequestException, OSError, UserError) as error:
        reason = fault_of(error) or f"{error!s:.300}"
        raise UserError(f"run {run.run_id} is filed, but its MLflow model could not be {what}: {reason}") from error


def artifact_folders(run: TrackedRun, summary: Summary) -> list[Path]:
    """List the folders of a run's artifacts on this machine, or of those of its folds."""
    if not summary.folds:
        return [run.place or run.folder.artifacts]
    folds = [find_run(run.tracking, fold["run_id"]) for fold in summary.folds]
    files = [[fold.artifact(name) for name in ("config.yaml", "summary.json", BEST)] for fold in folds]  # perhaps from a server
    return [config.parent for config, *_ in files]


def store(client: MlflowClient, model: LoggedModel, networks: Sequence[Path], class_names: Sequence[str]) -> None:
    """Write a model where MLflow keeps it."""
    if place := local_path(model.artifact_location):
        return write_model(place, model, networks, class_names)
    with TemporaryDirectory(dir=networks[0].parent) as folder:  # on the disk of the checkpoint, which is then not copied
        write_model(Path(folder), model, networks, class_names)
        client.log_model_artifacts(model.model_id, folder)
    return None


def write_model(folder: Path, model: LoggedModel, networks: Sequence[Path], class_names: Sequence[str]) -> None:
    """Write the files of a model.

    Args:
        folder: gets them.
        model: what MLflow knows of it.
        networks: folders of artifacts, one per network.
        class_names: names of the C classes.
    """
    for number, artifacts in enumerate(networks):
        own = RunFolder(folder / NETWORKS / f"{number:03}")  # laid out as a run, so that it is read as one
        own.checkpoints.mkdir(parents=True)
        shutil.copyfile(artifacts / own.config.name, own.config)
        shutil.copyfile(artifacts / own.summary.name, own.summary)
        link_whole(artifacts / BEST, own.artifacts / BEST)
    examples = [example_uri()]
    (folder / EXAMPLE).write_text(json.dumps(examples), encoding="utf-8")
    (folder / SERVED_EXAMPLE).write_text(json.dumps({"inputs": examples}), encoding="utf-8")
    (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in requirements()), encoding="utf-8")
    environment = {"python": python_version(), "build_dependencies": ["pip"], "dependencies": ["-r requirements.txt"]}
    (folder / "python_env.yaml").write_text(yaml.safe_dump(environment, sort_keys=False), encoding="utf-8")
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    described(model, class_names, size).save(folder / "MLmodel")


def described(model: LoggedModel, class_names: Sequence[str], size: int) -> Model:
    """Describe a model as its ``MLmodel`` file does.

    The mark of a signature from type hints makes MLflow hand over images as they were given, and `pyfunc.CellModel` checks them:
    MLflow's own check would make a table of a list of arrays, and fail for images of several sizes.
    """
    floats = ["probability", *map(column_name, class_names), "margin"]
    columns = {"predicted": "string", **dict.fromkeys(floats, "float")}
    outputs = [{"name": name, "type": kind, "required": True} for name, kind in columns.items()]
    python_function = {
        "loader_module": pyfunc.__name__,
        "data": NETWORKS,
        "env": {"virtualenv": "python_env.yaml"},
        "python_version": python_version(),
    }
    example = {"artifact_path": EXAMPLE, "serving_input_path": SERVED_EXAMPLE, "type": "json_object"}
    inputs = [{"type": "any", "required": True}]
    return Model.from_dict(
        {
            "model_id": model.model_id,
            "run_id": model.source_run_id,
            "flavors": {"python_function": python_function},
            "signature": {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs), "params": None},
            "is_signature_from_type_hint": True,
            "type_hint_from_example": False,
            "saved_input_example_info": example,
            "mlflow_version": version("mlflow"),
            "model_size_bytes": size,
        }
    )


def example_uri() -> str:
    """Return a painted cell as a data URI: an example of the input that shows nobody's blood."""
    cell = paint_cells(np.array([0]), size=64, difficulty=0.0, seed=0)[0]
    content = cv2.imencode(".png", cv2.cvtColor(cell, cv2.COLOR_RGB2BGR))[1].tobytes()
    return f"{pyfunc.URI}png;base64,{base64.b64encode(content).decode()}"


def requirements() -> list[str]:
    """List this package and what it needs, in the versions that are installed."""
    try:
        needed = [Requirement(text) for text in requires(DISTRIBUTION) or []]
    except PackageNotFoundError as error:
        raise UserError("this package runs from its sources and is not installed, so that what it requires is unknown") from error
    names = sorted(one.name for one in needed if one.marker is None or one.marker.evaluate({"extra": ""}))
    return [f"{name}=={version(name)}" for name in [DISTRIBUTION, *names]]


def model_name(experiment: str) -> str:
    """Name the model of an experiment; MLflow allows none of these characters."""
    return "".join("-" if char in NOT_IN_NAMES else char for char in experiment) or "network"


def register(run: TrackedRun, name: str, model: LoggedModel, summary: Summary) -> str:
    """Register a model as a new version; returns its URI."""
    client = run.client
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    # A server knows the model by its id; a database would look it up in the store of the environment, not in its own.
    source = f"models:/{model.model_id}" if is_served(run.tracking.resolved_uri) else model.artifact_location
    found = client.create_model_version(name, source, summary.run_id, description=headline(summary), model_id=model.model_id)
    return f"models:/{name}/{found.version}"
