"""How much shorter a run was than its recipe."""

import yaml

from bcc_lightning.cli import MAX_EPOCHS
from bcc_lightning.errors import UserError
from bcc_lightning.experiment_files import find_experiment

PARTS = ("trainer.limit_train_batches", "trainer.limit_val_batches", "trainer.limit_test_batches", "trainer.fast_dev_run")
"""Flags by which a run sees a part of its cells."""


def shortened(experiment: str, params: dict[str, str]) -> list[str]:
    """Say in which ways a run was shorter than its experiment's file says.

    Args:
        experiment: name of the experiment.
        params: parameters of the run, as they are logged.
    """
    given = {key: value for key, value in params.items() if value not in {"None", "False"}}
    said = [f"CUT SHORT by {key} {given[key]}" for key in PARTS if key in given]
    epochs, recipe = int(given.get("trainer.max_epochs", 0)), epochs_of_recipe(experiment)
    if recipe and 0 < epochs < recipe:
        said.append(f"CUT SHORT to {epochs} of the recipe's {recipe} epochs")
    if "trainer.max_time" in given:
        said.append(f"training time LIMITED to {given['trainer.max_time']} (days:hours:minutes:seconds)")
    return said


def epochs_of_recipe(experiment: str) -> int | None:
    """Read how many epochs an experiment's file allows; None where the file is not here."""
    try:
        content = yaml.safe_load(find_experiment(experiment).read_text(encoding="utf-8"))
    except UserError:
        return None
    stages = sum(stage["epochs"] for stage in content.get("stages", []))
    return content.get("trainer", {}).get("max_epochs") or stages or MAX_EPOCHS
