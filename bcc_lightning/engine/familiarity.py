"""How familiar cells are to a finished run: its own cells as reference, computed once and filed in the run."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from bcc_lightning.engine.rebuild import own_data
from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.metrics import VALIDATION
from bcc_lightning.novelty.drift import Drift, watch
from bcc_lightning.novelty.guard import FILED, Guard, Reference, look_at_own_cells
from bcc_lightning.prediction.classifier import Pixels, TrainedClassifier
from bcc_lightning.tracking.additions import add_to_run
from bcc_lightning.tracking.trained_networks import TrainedNetwork


def guard_of(network: TrainedNetwork, classifier: TrainedClassifier) -> Guard:
    """Prepare a guard for a network; the features of its own cells are read from its run, or computed and filed there.

    Raises:
        UserError: they were never computed, and the data of the run are not on this machine; or several networks vote.
    """
    if network.run and network.run.has(FILED):
        return Guard(classifier, Reference.read(network.run.artifact(FILED)))
    data = own_data(network)
    if isinstance(data, str):
        raise UserError(
            f"how familiar cells are to {network.title} is measured by its own cells, which are not here: {data}. Next step: run "
            "the same command once where they are; the run keeps what is needed"
        )
    reference = look_at_own_cells(classifier, data.splits["train"], data.evaluated_cells(VALIDATION))
    if network.run:
        with TemporaryDirectory() as folder:
            file = Path(folder) / FILED
            reference.write(file)
            add_to_run(network.run, {FILED: file}, {})
    return Guard(classifier, reference)


def familiarity_with(guard: Guard) -> Callable[[Pixels], npt.NDArray[np.float64]]:
    """Return what gives the familiarity (N,) of cells (N, S, S, 3)."""
    return lambda pixels: guard.familiarity(guard.scores(pixels))


def drift_of(guard: Guard, familiarity: list[float]) -> Drift:
    """Look for drift in cells, in the order in which they came."""
    return watch(-guard.familiarity(guard.own), -np.array(familiarity))
