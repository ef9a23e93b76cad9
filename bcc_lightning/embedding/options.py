"""Options of the commands on features: which network computes them, of which cells."""

from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from bcc_lightning.cli.data_sets import DataOptionParser, build_data
from bcc_lightning.cli.early import chosen_classes
from bcc_lightning.cli.options import add_network_options, refuse_unnamed_network
from bcc_lightning.errors import UserError
from bcc_lightning.files import refuse_missing

if TYPE_CHECKING:
    from bcc_lightning.datamodules import CellDataModule
    from bcc_lightning.embedding.extractor import Extractor


def add_extractor_options(parser: DataOptionParser) -> None:
    """Declare which network computes features: a backbone or a trained network."""
    parser.add_argument("--backbone", type=str | None, default=None, help="timm's name of a network, instead of --run")
    parser.add_argument("--pretrained", type=bool, default=True, help="whether the backbone has its published weights")
    weights = "file with the backbone's weights"
    parser.add_argument("--weights", type=str | None, default=None, metavar="FILE", help=weights)
    add_network_options(parser)


def read_extractor_options(parser: DataOptionParser, argv: list[str]) -> Namespace:
    """Read the options of a call, and check that they name a network and a data set.

    Raises:
        UserError: neither or both of run and backbone are named, no data set is named, or a name does not exist.
    """
    options = parser.read_with_data(argv)
    if not chosen_classes(parser.flags)["data"]:
        raise UserError("name a data set with --data NAME, e.g. --data CellFolder --data.root /cells")
    named = bool(options["run"] or options["checkpoint"])
    if named == bool(options["backbone"]):
        raise UserError("name a trained network with --run R, or a backbone with --backbone NAME; one of the two")
    if named:
        refuse_unnamed_network(options)
    if options["weights"]:
        refuse_missing(Path(options["weights"]), "name a file of weights that timm can read", "--weights")
    return options


def extractor_and_data(options: Namespace, flags: list[str]) -> "tuple[Extractor, CellDataModule]":
    """Build the network and the data set that the options name; a trained network reads cells at the side of its run.

    Args:
        options: the options.
        flags: those of the data set.

    Raises:
        UserError: one of them cannot be built.
    """
    from bcc_lightning.cli.networks import network_named
    from bcc_lightning.embedding.extractor import Extractor

    if options["backbone"]:
        data = build_data(flags)
        return Extractor.of_backbone(options["backbone"], data.image_size, options["pretrained"], options["weights"]), data
    extractor = Extractor.of_network(network_named(options))
    return extractor, build_data([*flags, f"--data.image_size={extractor.side}"])
