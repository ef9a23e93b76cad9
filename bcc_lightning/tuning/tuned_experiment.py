"""The best parameters of a search as an experiment file that `fit` takes."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bcc_lightning.errors import UserError
from bcc_lightning.tuning.plan import Plan
from bcc_lightning.tuning.space import Value, flags
from bcc_lightning.tuning.space_check import build_untrained
from bcc_lightning.whole_file import whole_file

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

OF_AN_EXPERIMENT = ("model", "data", "selection", "stages", "trainer")
"""Keys that an experiment file has; the others belong to one run."""


def write_tuned(plan: Plan, trial: "FrozenTrial", experiments: list[str], argv: list[str], file: Path) -> None:
    """Write an experiment file with the best parameters.

    Args:
        plan: the search.
        trial: its best trial.
        experiments: names of the experiment.
        argv: its other arguments.
        file: where to.

    Raises:
        UserError: the file cannot be written.
    """
    config = tuned_config(experiments, argv, trial.params)
    values = ", ".join(f"{metric} {value:.4f}" for metric, value in zip(plan.metrics, trial.values, strict=True))
    head = (
        f"# {plan.experiment} with the parameters that study {plan.study} found best: trial {trial.number} of {plan.trials},\n"
        f"# {values} on the validation part, which chose it; the test part had no say.\n"
    )
    text = head + yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    try:
        with whole_file(file) as draft:
            draft.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--out {file} cannot be written ({error}); name another file") from error


def tuned_config(experiments: list[str], argv: list[str], parameters: dict[str, Value]) -> dict[str, Any]:
    """Give the configuration with the best parameters, without what is the default anyway."""
    cli = build_untrained(experiments, [*argv, *flags(parameters)])
    config: dict[str, Any] = yaml.safe_load(
        cli.parser.dump(cli.config, skip_default=True, skip_none=True, skip_link_targets=True)
    )
    kept = {key: config[key] for key in OF_AN_EXPERIMENT if config.get(key)}
    for name in ("model", "data"):
        kept[name] = {"class_path": short_name(config[name]["class_path"]), "init_args": config[name].get("init_args", {})}
    return kept


def short_name(class_path: str) -> str:
    """Give the name of a class, as experiment files write it."""
    return class_path.rpartition(".")[2]
