"""Adapting a finished run to cells of another laboratory, with what it has recorded of its own cells."""

from collections.abc import Sequence

import numpy as np

from bcc_lightning.datasets.nucleus import NUCLEUS, nucleus_of
from bcc_lightning.engine.rebuild import own_data
from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.metrics import VALIDATION
from bcc_lightning.modules.assumed_shares import Shares
from bcc_lightning.prediction.adaptation import AdaptedClassifier, adapt
from bcc_lightning.prediction.choices import SHARES, Method
from bcc_lightning.prediction.classifier import Pixels, TrainedClassifier
from bcc_lightning.safe_names import column_name
from bcc_lightning.tracking.trained_networks import TrainedNetwork


def adapt_network(
    network: TrainedNetwork, classifier: TrainedClassifier, pixels: Pixels, methods: Sequence[Method]
) -> AdaptedClassifier:
    """Adapt a network to the pixels of cells, and to nothing else; parameters and faults as of `adapt`."""
    shares = mean_probability(network, classifier.class_names) if set(SHARES) & set(methods) else None
    nucleus = trained_nucleus(network) if "scale" in methods else None
    return adapt(classifier, pixels, methods, shares, nucleus)


def mean_probability(network: TrainedNetwork, class_names: Sequence[str]) -> Shares | None:
    """Return the mean probability of each class on the validation set (C,); None where no answers for it are filed."""
    try:
        table = network.predictions(VALIDATION)
    except UserError:
        return None
    return np.asarray(table[list(map(column_name, class_names))].to_numpy(np.float64).mean(axis=0))


def trained_nucleus(network: TrainedNetwork) -> float | None:
    """Return the median diameter of nuclei in the training cells as a share of the side, recorded or measured now.

    Returns:
        None where it was not recorded, and the data are not on this machine.
    """
    recorded = (network.folds[0] if network.folds else network).facts.get(NUCLEUS)
    if recorded is not None:
        return float(recorded)
    data = own_data(network)
    return None if isinstance(data, str) else nucleus_of(data.splits["train"])
