"""Search spaces: Optuna's distributions under the dotted names of the command line, read from YAML.

A file of ``experiments/search`` looks like this; an entry below ``then`` is drawn only where the condition holds::

    model.lr: {type: float, low: 1e-5, high: 1e-2, log: true}
    model.optimizer: {type: categorical, choices: [adamw, sgd]}
    when:
      - if: {model.optimizer: sgd}
        then:
          model.momentum: {type: float, low: 0.8, high: 0.99}

Both ends of a range are included. Where ``step`` does not divide the range, Optuna lowers ``high`` to the last value on the grid,
and warns.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import BaseTrial

from bcc_lightning.errors import UserError

Value = str | int | float | bool | None

Entry = FloatDistribution | IntDistribution | CategoricalDistribution

CONDITIONS = "when"

ARGUMENTS = {"float": {"low", "high", "log", "step"}, "int": {"low", "high", "log", "step"}, "categorical": {"choices"}}
"""Keys that an entry may have beside ``type``, by type."""

REQUIRED = {"float": {"low", "high"}, "int": {"low", "high"}, "categorical": {"choices"}}
"""Keys that it must have, by type."""


@dataclass(frozen=True)
class Group:
    """Entries, with the condition under which they are drawn.

    Attributes:
        condition: allowed values of entries that are drawn earlier, by name; empty if there is no condition.
        entries: entries by name.
    """

    condition: dict[str, tuple[Value, ...]]
    entries: dict[str, Entry]

    def holds(self, drawn: Mapping[str, Value]) -> bool:
        """Check whether the condition holds for the values drawn so far."""
        return all(name in drawn and drawn[name] in allowed for name, allowed in self.condition.items())


@dataclass(frozen=True)
class Space:
    """A search space: groups in the order in which they are drawn."""

    groups: tuple[Group, ...]

    def suggest(self, trial: BaseTrial) -> dict[str, Value]:
        """Draw a value of each entry whose condition holds, by name."""
        drawn: dict[str, Value] = {}
        for group in self.groups:
            if group.holds(drawn):
                drawn |= {name: suggest(trial, name, entry) for name, entry in group.entries.items()}
        return drawn

    @property
    def is_conditional(self) -> bool:
        """Whether some entries are drawn only under a condition."""
        return any(group.condition for group in self.groups)

    def entries(self) -> Iterator[tuple[str, Entry, Group]]:
        """List all entries with their names and groups."""
        for group in self.groups:
            for name, entry in group.entries.items():
                yield name, entry, group

    def describe(self) -> dict[str, str]:
        """Describe the entries, by name."""
        words: dict[str, list[str]] = {}
        for name, entry, group in self.entries():
            condition = " and ".join(f"{key} is {' or '.join(map(str, values))}" for key, values in group.condition.items())
            words.setdefault(name, []).append(f"{describe(entry)}{f' where {condition}' if condition else ''}")
        return {name: "; ".join(parts) for name, parts in words.items()}


def suggest(trial: BaseTrial, name: str, entry: Entry) -> Value:
    """Draw a value of an entry through Optuna's trial."""
    if isinstance(entry, CategoricalDistribution):
        value: Value = trial.suggest_categorical(name, list(entry.choices))
        return value
    if isinstance(entry, IntDistribution):
        return trial.suggest_int(name, entry.low, entry.high, step=entry.step, log=entry.log)
    return trial.suggest_float(name, entry.low, entry.high, step=entry.step, log=entry.log)


def extremes(entry: Entry) -> list[Value]:
    """List the values with which an experiment is built before the search: both ends of a range, or all choices."""
    return list(entry.choices) if isinstance(entry, CategoricalDistribution) else [entry.low, entry.high]


def nearest(entry: Entry, value: object) -> Value:
    """Return the value of an entry that is nearest to another value.

    Args:
        entry: a range, or choices.
        value: any value.

    Returns:
        The nearest number of a range, or the choice that equals the value; None where there is none.
    """
    if isinstance(entry, CategoricalDistribution):
        plain = as_choice(value)
        return next((choice for choice in entry.choices if choice == plain and type(choice) is type(plain)), None)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    inside = min(max(value, entry.low), entry.high)
    if entry.step:
        inside = min(entry.low + round((inside - entry.low) / entry.step) * entry.step, entry.high)
    return inside if isinstance(entry, IntDistribution) else float(inside)


def describe(entry: Entry) -> str:
    """Describe an entry in one line."""
    if isinstance(entry, CategoricalDistribution):
        return ", ".join(map(str, entry.choices))
    whole = isinstance(entry, IntDistribution)
    step = f" in steps of {entry.step:g}" if entry.step and not (whole and entry.step == 1) else ""
    return f"{'whole numbers ' if whole else ''}{entry.low:g} to {entry.high:g}{step}{', log' if entry.log else ''}"


def read_space(content: object, source: str) -> Space:
    """Read a search space.

    Args:
        content: content of the YAML file.
        source: name of the file, for errors.

    Raises:
        UserError: an entry is not valid, or a condition names an entry that is not drawn before it.
    """
    if not isinstance(content, dict) or not content:
        raise UserError(
            f"{source} must map dotted names such as model.lr to entries such as {{type: float, low: 1e-4, high: 1e-2}}"
        )
    conditional = content.get(CONDITIONS) or []
    if not isinstance(conditional, list):
        raise UserError(f"{source}: {CONDITIONS} must be a list of {{if: {{NAME: VALUE}}, then: {{...}}}}")
    always = Group({}, read_entries({name: entry for name, entry in content.items() if name != CONDITIONS}, source))
    groups = [always]
    for part in conditional:
        groups.append(read_group(part, groups, source))
    return Space(tuple(groups))


def read_group(part: object, before: list[Group], source: str) -> Group:
    """Read a conditional group; its condition may name only entries of the groups `before` it."""
    if not (isinstance(part, dict) and set(part) == {"if", "then"} and all(isinstance(value, dict) for value in part.values())):
        raise UserError(f"{source}: an entry of {CONDITIONS} is {part}, it must be {{if: {{NAME: VALUE}}, then: {{...}}}}")
    known = {name for group in before for name in group.entries}
    if unknown := sorted(set(part["if"]) - known):
        raise UserError(f"{source}: {CONDITIONS} asks for {', '.join(unknown)}; drawn before it are: {', '.join(sorted(known))}")
    condition = {name: tuple(value) if isinstance(value, list) else (value,) for name, value in part["if"].items()}
    return Group(condition, read_entries(part["then"], source))


def read_entries(content: dict[str, Any], source: str) -> dict[str, Entry]:
    """Read entries by name."""
    return {str(name): read_entry(f"{source}: {name}", entry) for name, entry in content.items()}


def read_entry(place: str, entry: object) -> Entry:
    """Read an entry.

    Raises:
        UserError: the entry is not valid.
    """
    kind = entry.get("type") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(kind, str) or kind not in ARGUMENTS:
        raise UserError(f"{place} is {entry}, it must be a mapping whose type is float, int or categorical")
    given = set(entry) - {"type"}
    if given - ARGUMENTS[kind] or REQUIRED[kind] - given:
        named, allowed = ", ".join(sorted(map(str, given))) or "nothing", ", ".join(sorted(ARGUMENTS[kind]))
        raise UserError(f"{place} has {named}; type {kind} takes {allowed}")
    return read_choices(place, entry["choices"]) if kind == "categorical" else read_range(place, entry)


def read_choices(place: str, choices: object) -> CategoricalDistribution:
    """Read the choices of a categorical entry; lists and mappings are stored as JSON, as on the command line."""
    if not isinstance(choices, list) or not choices:
        raise UserError(f"{place}: choices is {choices}, it must be a list of at least one value")
    return CategoricalDistribution(tuple(map(as_choice, choices)))


def read_range(place: str, entry: dict[str, Any]) -> FloatDistribution | IntDistribution:
    """Read a range; Optuna's distributions refuse what is impossible."""
    whole, log = entry["type"] == "int", entry.get("log", False)
    low, high = (number(f"{place}: {end}", entry[end], whole) for end in ("low", "high"))
    step = None if entry.get("step") is None else number(f"{place}: step", entry["step"], whole)
    if low >= high:  # Optuna also accepts a range of one value
        raise UserError(f"{place}: low is {low:g} and high is {high:g}; low must be below high")
    if not isinstance(log, bool):
        raise UserError(f"{place}: log is {log}, it must be true or false")
    try:
        if whole:
            return IntDistribution(int(low), int(high), log, 1 if step is None else int(step))
        return FloatDistribution(low, high, log, step)
    except ValueError as error:
        shown = ", ".join(f"{name}: {value}" for name, value in entry.items())
        raise UserError(f"{place} is {{{shown}}}, which is no range: {error}") from error


def number(place: str, value: object, whole: bool) -> float:
    """Read a number; YAML 1.1 reads ``1e-5`` as a string."""
    try:
        if isinstance(value, bool):
            raise ValueError
        read = float(str(value))
    except ValueError as error:
        raise UserError(f"{place} is '{value}', it must be a number") from error
    if whole and not read.is_integer():
        raise UserError(f"{place} is {value}, it must be a whole number")
    return int(read) if whole else read


def as_choice(value: object) -> Value:
    """Return a value as Optuna stores choices: lists and mappings as JSON."""
    return value if isinstance(value, str | int | float | bool) or value is None else json.dumps(value)


def flags(drawn: Mapping[str, Value]) -> list[str]:
    """Format drawn values as flags of the command line."""
    return [part for name, value in drawn.items() for part in (f"--{name}", as_argument(value))]


def as_argument(value: Value) -> str:
    """Format a value as the command line takes it."""
    return value if isinstance(value, str) else json.dumps(value)
