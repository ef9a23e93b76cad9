"""A finished run made anew: its data module from its configuration, its module from its checkpoint."""

from typing import Any, cast

from bcc_lightning.cli.parser import ExperimentParser
from bcc_lightning.cli.wording import plain_words
from bcc_lightning.datamodules import CellDataModule
from bcc_lightning.errors import UserError
from bcc_lightning.modules.base import CellClassifier
from bcc_lightning.modules.checkpoint import load_classifier
from bcc_lightning.tracking.trained_networks import TrainedNetwork


def rebuild(source: TrainedNetwork, **changes: Any) -> tuple[CellClassifier, CellDataModule]:  # noqa: ANN401 - arguments of any data module
    """Build module and data module of a finished run.

    Args:
        source: the run.
        **changes: arguments of its data module to change, such as `root` if the files have moved.

    Returns:
        The module on the CPU, in evaluation mode, and the data module, not yet read.

    Raises:
        UserError: the source is a checkpoint without a run, or the files are not those it was trained on.
    """
    if source.config is None:
        raise UserError(
            f"{source.name} belongs to no run, so its data are not known; name a run, or a checkpoint in a run's folder"
        )
    data = build_data(data_config(source.config, **changes))
    refuse_other_data(source, data)
    return load_classifier(source.checkpoint), data


def own_data(network: TrainedNetwork, **changes: Any) -> CellDataModule | str:  # noqa: ANN401 - arguments of any data module
    """Read the data that a network was trained on again; a sentence that says why not where they cannot be had."""
    source = network.folds[0] if network.folds else network
    if source.config is None:
        return f"{network.title} belongs to no run, so its data are not known"
    try:
        data = build_data(data_config(source.config, **changes))
        refuse_other_data(source, data)
    except UserError as error:
        return str(error)
    return data


def data_config(config: dict[str, Any], **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - arguments of any data module
    """Return the data module's section of a run's configuration, with its seed and with some arguments changed.

    Raises:
        UserError: the configuration lacks them.
    """
    try:
        data = config["data"]
        own = {**data["init_args"], "seed": config["seed_everything"]}
        class_path = data["class_path"]
    except (KeyError, TypeError) as error:
        raise UserError(
            "the configuration of a run lacks data.class_path, data.init_args or seed_everything; was its config.yaml changed?"
        ) from error
    own |= {name: value for name, value in changes.items() if name in own}
    return {"class_path": class_path, "init_args": own}


def build_data(config: dict[str, Any]) -> CellDataModule:
    """Build a data module from its section of a configuration: ``class_path`` and ``init_args``.

    Raises:
        UserError: an argument is not one that the data module takes.
    """
    parser = ExperimentParser()
    parser.add_subclass_arguments(CellDataModule, "data", required=True)
    try:
        options = parser.parse_object({"data": config})
    except UserError as error:
        raise UserError(plain_words(str(error))) from error
    data = cast(CellDataModule, parser.build(options)["data"])
    data.prepare_data()
    return data


def refuse_other_data(source: TrainedNetwork, data: CellDataModule) -> None:
    """Refuse data that are not those of the run: their hash, or which cell is in which set.

    Raises:
        UserError: they differ.
    """
    recorded = source.summary.data if source.summary else {}
    facts = data.facts()
    for fact, what in (("data.sha256", "the data set"), ("split.sha256", "the split")):
        if fact in recorded and recorded[fact] != facts[fact]:
            raise UserError(
                f"{source.title} was trained on {recorded.get('data.name')} with {fact} {recorded[fact][:12]}, but {what} in "
                f"{data.root} has {facts[fact][:12]}; name the folder it was trained on with --data.root DIR"
            )
