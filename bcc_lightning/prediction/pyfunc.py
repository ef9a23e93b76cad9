"""A trained network as ``mlflow.pyfunc.load_model`` and ``mlflow models serve`` call it.

Nothing is unpickled: MLflow imports this module, which reads the checkpoint as plain tensors and, from the configuration beside
it, how the run read its images.
"""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException

from bcc_lightning.errors import UserError
from bcc_lightning.prediction.classifier import TrainedClassifier
from bcc_lightning.tracking.trained_networks import TrainedNetwork, of_file

URI = "data:image/"


class CellModel:
    """A trained network with the interface of MLflow.

    Args:
        classifier: the network.
    """

    def __init__(self, classifier: TrainedClassifier) -> None:
        self.classifier = classifier

    def predict(self, images: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ANN401 - what MLflow was given
        """Classify images.

        Args:
            images: a list of images: paths, contents of files (bytes, or data URIs such as ``data:image/png;base64,...``), arrays
                (H, W, 3) or such arrays as nested lists, uint8 RGB; an array (N, H, W, 3); a table whose first column holds them.
            params: none are known.

        Returns:
            A row per image: ``predicted``, ``probability``, a column per class, and ``margin``, see `TrainedClassifier.answers`.

        Raises:
            MlflowException: one of them is not an image; MLflow's server then answers with status 400 and this message.
        """
        if isinstance(images, pd.DataFrame):
            images = images.iloc[:, 0].tolist()
        try:
            given = [opened(image) for image in images] if isinstance(images, list) else images
            return self.classifier.predict(given).drop(columns="image")
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error


def opened(image: Any) -> Any:  # noqa: ANN401 - what MLflow was given
    """Turn a data URI into the content of the file, and nested lists into an array; others are returned as they are.

    Raises:
        UserError: the URI cannot be read.
    """
    if isinstance(image, str) and image.startswith(URI):
        try:
            return base64.b64decode(image.partition(";base64,")[2], validate=True)
        except ValueError as error:
            raise UserError(f"a data URI cannot be read ({error}); write {URI}png;base64, and the file in base64") from error
    if not isinstance(image, list):
        return image
    try:
        pixels = np.asarray(image)
        as_bytes = pixels.astype(np.uint8, casting="unsafe") if pixels.dtype.kind in "iu" else pixels
    except ValueError as error:
        raise UserError("an image is a nested list whose rows differ in length; it must be (H, W, 3)") from error
    return as_bytes if np.array_equal(as_bytes, pixels) else pixels


def _load_pyfunc(path: str) -> CellModel:
    """Load the model; MLflow calls this.

    Args:
        path: folder of the networks, see `bcc_lightning.prediction.mlflow_model`.
    """
    networks = [of_file(file) for file in sorted(Path(path).glob("*/artifacts/checkpoints/best.ckpt"))]
    first = networks[0]
    if len(networks) > 1:
        title = f"{len(networks)} folds of {first.title}"
        first = TrainedNetwork(first.name, title, first.checkpoint, first.config, first.summary, folds=tuple(networks))
    return CellModel(TrainedClassifier.of(first))
