"""The trained networks that a command's options name."""

from pathlib import Path
from typing import Any

from bcc_lightning.cli.options import refuse_several, refuse_unnamed_network, tracking_named
from bcc_lightning.tracking.trained_networks import TrainedNetwork, find_network


def networks_named(options: Any) -> list[TrainedNetwork]:  # noqa: ANN401 - jsonargparse's namespace
    """Find the networks that ``--run`` and ``--checkpoint`` name; a cross-validation is its folds.

    Raises:
        UserError: none is named, or one does not exist.
    """
    refuse_unnamed_network(options, several=True)
    named = [*options["run"], *map(str, map(Path, options["checkpoint"]))]
    return [find_network(tracking_named(options), one, folds=True) for one in named]


def network_named(options: Any) -> TrainedNetwork:  # noqa: ANN401 - jsonargparse's namespace
    """Find the only network that is named; raises as `networks_named`, and where there are several."""
    networks = networks_named(options)
    refuse_several(len(networks))
    return networks[0]
