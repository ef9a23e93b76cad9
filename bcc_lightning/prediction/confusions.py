"""What is known of a network's confusions: its answers for validation cells, which it was not trained on."""

from bcc_lightning.differential.counting import Confusion
from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.metrics import VALIDATION
from bcc_lightning.tracking.trained_networks import TrainedNetwork


def known_confusions(network: TrainedNetwork, class_names: list[str]) -> Confusion | None:
    """Count the confusions in the validation answers that a run has filed; None where it has filed none."""
    try:
        return Confusion.of_predictions(network.predictions(VALIDATION), class_names)
    except UserError:
        return None
