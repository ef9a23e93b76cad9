"""The searched experiment: its space is checked before the first trial, and its best parameters are written as a file."""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jsonargparse import ArgumentParser, Namespace

from bcc_lightning.cli.arguments import Call
from bcc_lightning.cli.experiment import ExperimentCLI
from bcc_lightning.errors import UserError
from bcc_lightning.files import whole_file
from bcc_lightning.tuning.plan import Plan
from bcc_lightning.tuning.space import Group, Space, Value, as_argument, as_choice, describe, extremes, flags, nearest

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


class UntrainedCLI(ExperimentCLI):
    """Builds an experiment without its published weights, which a check does not need; the configuration still names them."""

    def _with_files(self) -> Namespace:
        config = super()._with_files()
        config["model"]["init_args"]["pretrained"] = False
        return config


def build_untrained(experiments: list[str], argv: list[str]) -> ExperimentCLI:
    """Read and build an experiment.

    Raises:
        UserError: an argument is wrong, or the experiment is an ensemble, which is not trained.
    """
    cli = UntrainedCLI(Call(exp=experiments, flags=argv).arguments)
    if not cli.model.learns:
        raise UserError(
            f"{cli.experiment_name} is an ensemble, which is not trained; search the experiments of its members instead"
        )
    return cli


def check_space(space: Space, source: str, experiments: list[str], argv: list[str]) -> None:
    """Refuse a space with which the experiment cannot be built.

    Args:
        space: the search space.
        source: name of its file.
        experiments: names of the experiment.
        argv: its other arguments.

    Raises:
        UserError: a key is unknown, or a value is not allowed.
    """
    for tried in values_to_try(space):
        try:
            build_untrained(experiments, [*argv, *flags(tried)])
        except UserError as error:
            values = ", ".join(f"{name} {as_argument(value)}" for name, value in tried.items())
            raise UserError(f"{source} cannot be searched: {error} (tried with {values})") from error


def values_to_try(space: Space) -> Iterator[dict[str, Value]]:
    """List values that cover both ends of each range and all choices, several at a time since building takes a second."""
    for group in space.groups:
        names = list(group.entries)
        for row in zip_longest(*(extremes(entry) for entry in group.entries.values())):
            shown = {name: value for name, value in zip(names, row, strict=True) if value is not None}
            yield {**condition_values(group, space), **shown}


def condition_values(group: Group, space: Space) -> dict[str, Value]:
    """Return values for which a group is drawn, including those for the conditions of its conditions."""
    values: dict[str, Value] = {}
    for name, allowed in group.condition.items():
        for before in space.groups:
            if before is not group and name in before.entries:
                values |= condition_values(before, space)
        values[name] = allowed[0]
    return values


def own_values(space: Space, config: dict[str, Any]) -> tuple[dict[str, Value], list[str]]:
    """Return the experiment's own values of the searched parameters, with which a search begins.

    Args:
        space: the space.
        config: the experiment's resolved configuration.

    Returns:
        The values that are in the space or, for numbers, the nearest in the space; and a remark on each value that is not.
    """
    own: dict[str, Value] = {}
    remarks = []
    for group in space.groups:
        for name, entry in group.entries.items() if group.holds(own) else ():
            value = value_of(config, name)
            first = nearest(entry, value)
            if first is not None:
                own[name] = first
            if first != as_choice(value):
                instead = "a value is drawn" if first is None else f"the first trial uses {first}"
                remarks.append(f"the experiment's own {name} {value} is not in the space ({describe(entry)}); {instead}")
    return own, remarks


def value_of(config: dict[str, Any], name: str) -> object:
    """Look up a dotted name in a resolved configuration; None where there is no such name."""
    node: Any = config
    for part in name.split("."):
        if isinstance(node, dict) and part not in node and "init_args" in node:
            node = node["init_args"]
        if not isinstance(node, dict) or part not in node:
            return None
        node = node[part]
    return node


OF_AN_EXPERIMENT = ("model", "data", "selection", "stages", "trainer")
"""Keys of an experiment file; all other keys concern a single run."""


def write_tuned(plan: Plan, trial: "FrozenTrial", experiments: list[str], argv: list[str], file: Path) -> None:
    """Write an experiment file with the best parameters.

    Args:
        plan: the search.
        trial: the best trial.
        experiments: names of the experiment.
        argv: its other arguments.
        file: the file to write.
    """
    config = tuned_config(experiments, argv, trial.params)
    values = ", ".join(f"{metric} {value:.4f}" for metric, value in zip(plan.metrics, trial.values, strict=True))
    head = (
        f"# {plan.experiment} with the parameters that study {plan.study} found best: trial {trial.number} of {plan.trials},\n"
        f"# {values} on the validation set, by which it was chosen; the test set was not used.\n"
    )
    text = head + yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    with whole_file(file) as draft:
        draft.write_text(text, encoding="utf-8")


def tuned_config(experiments: list[str], argv: list[str], parameters: dict[str, Value]) -> dict[str, Any]:
    """Return the configuration with the best parameters as a person would write it: only searched values and non-defaults."""
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
    """Return the defaults of a class as plain values."""
    parser = ArgumentParser()
    parser.add_class_arguments(built)
    defaults: dict[str, Any] = yaml.safe_load(parser.dump(parser.get_defaults(), skip_none=False, skip_validation=True))
    return defaults


def differing(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Select the values that differ from the default, also within nested mappings."""
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
