"""Options of the commands on features: which network computes them, of which cells."""

from collections.abc import Callable

from jsonargparse import Namespace

from bcc_lightning.cli.networks import network_named, network_parser
from bcc_lightning.cli.parser import ExperimentParser
from bcc_lightning.datamodules import CellDataModule
from bcc_lightning.embedding.extractor import Extractor
from bcc_lightning.errors import UserError


def extractor_parser(command: str, declare: Callable[[ExperimentParser], None]) -> ExperimentParser:
    """Declare the options of a command on features; arguments as `network_parser`."""

    def declare_all(parser: ExperimentParser) -> None:
        """Declare the command's own options, and those of network and data."""
        declare(parser)
        parser.add_argument("--backbone", type=str | None, default=None, help="timm's name of a network, instead of --run")
        parser.add_argument("--pretrained", type=bool, default=True, help="whether the backbone has its published weights")
        parser.add_argument("--weights", type=str | None, default=None, help="file with the backbone's weights")
        parser.add_subclass_arguments(CellDataModule, "data", required=True)

    return network_parser(command, declare_all)


def extractor_and_data(parser: ExperimentParser, options: Namespace) -> tuple[Extractor, CellDataModule]:
    """Build the network and the data set that the options name; a trained network reads cells at the side of its run.

    Raises:
        UserError: neither or both of run and backbone are named, or one of them cannot be built.
    """
    named = bool(options["run"] or options["checkpoint"])
    if named == bool(options["backbone"]):
        raise UserError("name a trained network with --run R, or a backbone with --backbone NAME; one of the two")
    if not options["data"]:
        raise UserError("name a data set with --data NAME, e.g. --data CellFolder --data.root /cells")
    data = options["data"]["init_args"]
    if named:
        extractor = Extractor.of_network(network_named(options))
        data["image_size"] = extractor.side
    else:
        extractor = Extractor.of_backbone(options["backbone"], data["image_size"], options["pretrained"], options["weights"])
    built: CellDataModule = parser.build(options)["data"]
    return extractor, built
