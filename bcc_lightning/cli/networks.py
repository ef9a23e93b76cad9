"""Options that all commands on trained networks share: which network, where its run is kept, where to write."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from bcc_lightning.cli.parser import ExperimentParser, plain_words
from bcc_lightning.errors import UserError
from bcc_lightning.tracking.settings import FOUND_BY, Tracking
from bcc_lightning.tracking.trained_networks import TrainedNetwork, find_network

RUN = "a run id or its beginning, the name of an experiment (its newest finished run), or models:/NAME@ALIAS"


def network_parser(command: str, declare: Callable[[ExperimentParser], None]) -> ExperimentParser:
    """Declare the options of a command on trained networks.

    Args:
        command: its name.
        declare: adds the command's own options.
    """
    parser = ExperimentParser(prog=f"python -m bcc_lightning.{command}")
    declare(parser)
    parser.add_argument("--run", action="append", default=[], help=RUN)
    parser.add_argument("--checkpoint", action="append", default=[], help="a checkpoint file instead of a run")
    places = parser.add_argument_group("where runs are kept")
    for field in fields(Tracking):
        if field.name in FOUND_BY:
            places.add_argument(f"--tracking.{field.name}", type=str | None, default=field.default)
    return parser


def read_options(parser: ExperimentParser, argv: list[str]) -> Namespace:
    """Read the options of a command.

    Raises:
        UserError: an option is unknown, or has a value that is not allowed.
    """
    try:
        return parser.parse_args(argv)
    except UserError as error:
        raise UserError(f"command line: {plain_words(str(error))}") from error


def tracking_named(options: Any) -> Tracking:  # noqa: ANN401 - jsonargparse's namespace
    """Return where runs are kept."""
    return Tracking(**vars(options["tracking"]))


def networks_named(options: Any) -> list[TrainedNetwork]:  # noqa: ANN401 - jsonargparse's namespace
    """Find the networks that ``--run`` and ``--checkpoint`` name; a cross-validation is its folds.

    Raises:
        UserError: none is named, or one does not exist.
    """
    files = list(map(str, map(Path, options["checkpoint"])))
    for file in files:
        if not Path(file).is_file():
            raise UserError(f"checkpoint {file} does not exist; a finished run files one as checkpoints/best.ckpt")
    if not (named := [*options["run"], *files]):
        raise UserError(f"name a trained network with --run R ({RUN}), or with --checkpoint FILE")
    return [find_network(tracking_named(options), one, folds=True) for one in named]


def network_named(options: Any) -> TrainedNetwork:  # noqa: ANN401 - jsonargparse's namespace
    """Find the only network that is named; raises as `networks_named`, and where there are several."""
    networks = networks_named(options)
    if len(networks) > 1:
        raise UserError(
            f"--run and --checkpoint name {len(networks)} networks, this command takes one; to let several vote, combine them "
            "with python -m bcc_lightning.ensemble"
        )
    return networks[0]
