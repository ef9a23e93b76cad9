"""The best parameters of a search as an experiment file that `fit` takes."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jsonargparse import ArgumentParser

from bcc_lightning.tuning.plan import Plan
from bcc_lightning.tuning.space import Value, flags
from bcc_lightning.tuning.space_check import build_untrained, value_of
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
    """
    config = tuned_config(experiments, argv, trial.params)
    values = ", ".join(f"{metric} {value:.4f}" for metric, value in zip(plan.metrics, trial.values, strict=True))
    head = (
        f"# {plan.experiment} with the parameters that study {plan.study} found best: trial {trial.number} of {plan.trials},\n"
        f"# {values} on the validation part, which chose it; the test part had no say.\n"
    )
    text = head + yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    with whole_file(file) as draft:
        draft.write_text(text, encoding="utf-8")


def tuned_config(experiments: list[str], argv: list[str], parameters: dict[str, Value]) -> dict[str, Any]:
    """Give the configuration with the best parameters as one would write it: what was searched, and what is not the default."""
    cli = build_untrained(experiments, [*argv, *flags(parameters)])
    config: dict[str, Any] = yaml.safe_load(
        cli.parser.dump(cli.config, skip_default=True, skip_none=False, skip_link_targets=True)
    )
    kept = {key: config[key] for key in OF_AN_EXPERIMENT if config.get(key)}
    for name, built in (("model", cli.model), ("data", cli.datamodule)):
        own = differing(config[name].get("init_args", {}), defaults_of(type(built)))
        kept[name] = {"class_path": type(built).__name__, "init_args": own}
    resolved = cli.resolved_config()
    for name in parameters:
        put(kept, name, value_of(resolved, name))
    return kept


def defaults_of(built: type) -> dict[str, Any]:
    """Give the defaults of a class as plain values."""
    parser = ArgumentParser()
    parser.add_class_arguments(built)
    defaults: dict[str, Any] = yaml.safe_load(parser.dump(parser.get_defaults(), skip_none=False, skip_validation=True))
    return defaults


def differing(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Choose the values that are not the default, in nested mappings too."""
    chosen = {}
    for key, value in values.items():
        default = defaults.get(key)
        if value != default:
            chosen[key] = differing(value, default) if isinstance(value, dict) and isinstance(default, dict) else value
    return chosen


def put(config: dict[str, Any], name: str, value: object) -> None:
    """Set a value under its dotted name."""
    first, *rest, last = (part for part in name.split(".") if part != "init_args")
    node = config.setdefault(first, {})
    for part in rest if first not in {"model", "data"} else ["init_args", *rest]:
        node = node.setdefault(part, {})
    node[last] = value
