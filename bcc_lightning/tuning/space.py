"""Search spaces: typed ranges and choices under the dotted names of the command line, read from YAML.

A file of ``experiments/search`` looks like this; an entry below ``then`` is only drawn where the condition holds::

    model.lr: {type: float, low: 1e-5, high: 1e-2, log: true}
    model.optimizer: {type: categorical, choices: [adamw, sgd]}
    when:
      - if: {model.optimizer: sgd}
        then:
          model.momentum: {type: float, low: 0.8, high: 0.99}
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from bcc_lightning.errors import UserError

Value = str | int | float | bool | None

CONDITIONS = "when"

TYPES = "float, int or categorical"


class Suggester(Protocol):
    """The part of `optuna.Trial` that a space needs."""

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> float:
        """Draw a number."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Draw a whole number."""

    def suggest_categorical(self, name: str, choices: Any) -> Any:  # noqa: ANN401 - Optuna's signature
        """Draw one of several values."""


@dataclass(frozen=True)
class Range:
    """A range of numbers, both ends included.

    Attributes:
        low: smallest value.
        high: largest value.
        log: whether the logarithm is drawn evenly.
        step: distance of the values that are drawn; None for any.
        whole: whether only whole numbers are drawn.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False

    def suggest(self, trial: Suggester, name: str) -> float:
        """Draw a value."""
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def extremes(self) -> list[Value]:
        """List the values that a module is tried with before the search."""
        return [int(end) if self.whole else end for end in (self.low, self.high)]

    def nearest(self, value: object) -> Value:
        """Give the value of the range that is nearest to another; None where that is no number."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        inside = min(max(value, self.low), self.high)
        if self.step:
            inside = min(self.low + round((inside - self.low) / self.step) * self.step, self.high)
        return round(inside) if self.whole else float(inside)

    def __str__(self) -> str:
        """Word the range."""
        kind = "whole numbers " if self.whole else ""
        step = f" in steps of {self.step:g}" if self.step else ""
        return f"{kind}{self.low:g} to {self.high:g}{step}{', log' if self.log else ''}"


@dataclass(frozen=True)
class Choice:
    """One of several values.

    Attributes:
        choices: the values; lists and mappings stand as JSON, as on the command line.
    """

    choices: tuple[Value, ...]

    def suggest(self, trial: Suggester, name: str) -> Value:
        """Draw a value."""
        value: Value = trial.suggest_categorical(name, list(self.choices))
        return value

    def extremes(self) -> list[Value]:
        """List the values that a module is tried with before the search."""
        return list(self.choices)

    def nearest(self, value: object) -> Value:
        """Give the choice that equals a value, or None."""
        plain = as_choice(value)
        return next((choice for choice in self.choices if choice == plain and type(choice) is type(plain)), None)

    def __str__(self) -> str:
        """Word the choices."""
        return ", ".join(map(str, self.choices))


Entry = Range | Choice


@dataclass(frozen=True)
class Group:
    """Entries, with the condition under which they are drawn.

    Attributes:
        condition: by name, the values of which the entry drawn earlier must have one; empty for always.
        entries: by name.
    """

    condition: dict[str, tuple[Value, ...]]
    entries: dict[str, Entry]

    def holds(self, drawn: Mapping[str, Value]) -> bool:
        """Tell whether the condition holds for what has been drawn."""
        return all(name in drawn and drawn[name] in allowed for name, allowed in self.condition.items())


@dataclass(frozen=True)
class Space:
    """A search space: groups in the order in which they are drawn."""

    groups: tuple[Group, ...]

    def suggest(self, trial: Suggester) -> dict[str, Value]:
        """Draw a value of each entry whose condition holds, by name."""
        drawn: dict[str, Value] = {}
        for group in self.groups:
            if group.holds(drawn):
                drawn |= {name: entry.suggest(trial, name) for name, entry in group.entries.items()}
        return drawn

    @property
    def is_conditional(self) -> bool:
        """Whether not all entries are always drawn."""
        return any(group.condition for group in self.groups)

    def entries(self) -> Iterator[tuple[str, Entry, Group]]:
        """List all entries with their names and groups."""
        for group in self.groups:
            for name, entry in group.entries.items():
                yield name, entry, group

    def describe(self) -> dict[str, str]:
        """Word the entries, by name."""
        words: dict[str, list[str]] = {}
        for name, entry, group in self.entries():
            condition = " and ".join(f"{key} is {' or '.join(map(str, values))}" for key, values in group.condition.items())
            words.setdefault(name, []).append(f"{entry}{f' where {condition}' if condition else ''}")
        return {name: "; ".join(parts) for name, parts in words.items()}


def read_space(content: object, source: str) -> Space:
    """Read a search space.

    Args:
        content: what the YAML file holds.
        source: name of the file, for errors.

    Raises:
        UserError: an entry is none, a range is impossible, or a condition names what is not drawn before it.
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
    """Read a conditional group; its condition may name entries of the groups `before` it."""
    if not (isinstance(part, dict) and set(part) == {"if", "then"} and all(isinstance(value, dict) for value in part.values())):
        raise UserError(f"{source}: an entry of {CONDITIONS} is {part}, it must be {{if: {{NAME: VALUE}}, then: {{...}}}}")
    known = {name for group in before for name in group.entries}
    if unknown := sorted(set(part["if"]) - known):
        raise UserError(f"{source}: {CONDITIONS} asks for {', '.join(unknown)}; drawn before are: {', '.join(sorted(known))}")
    condition = {name: tuple(value) if isinstance(value, list) else (value,) for name, value in part["if"].items()}
    return Group(condition, read_entries(part["then"], source))


def read_entries(content: dict[str, Any], source: str) -> dict[str, Entry]:
    """Read entries by name."""
    return {str(name): read_entry(f"{source}: {name}", entry) for name, entry in content.items()}


def read_entry(place: str, entry: object) -> Entry:
    """Read an entry.

    Raises:
        UserError: with its place, its value and what is allowed.
    """
    kind = entry.get("type") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or kind not in {"float", "int", "categorical"}:
        raise UserError(f"{place} is {entry}, it must be a mapping whose type is {TYPES}")
    allowed = {"choices"} if kind == "categorical" else {"low", "high", "log", "step"}
    required = {"choices"} if kind == "categorical" else {"low", "high"}
    given = set(entry) - {"type"}
    if given - allowed or required - given:
        raise UserError(f"{place} has {', '.join(sorted(given)) or 'nothing'}; type {kind} takes {', '.join(sorted(allowed))}")
    return read_choice(place, entry["choices"]) if kind == "categorical" else read_range(place, entry)


def read_choice(place: str, choices: object) -> Choice:
    """Read the choices of a categorical entry."""
    if not isinstance(choices, list) or not choices:
        raise UserError(f"{place}: choices is {choices}, it must be a list of at least one value")
    return Choice(tuple(map(as_choice, choices)))


def read_range(place: str, entry: dict[str, Any]) -> Range:
    """Read a range and refuse an impossible one."""
    whole, log = entry["type"] == "int", entry.get("log", False)
    low, high = (number(f"{place}: {end}", entry[end], whole) for end in ("low", "high"))
    step = None if entry.get("step") is None else number(f"{place}: step", entry["step"], whole)
    if low >= high:
        raise UserError(f"{place}: low is {low:g} and high is {high:g}; low must be below high")
    if not isinstance(log, bool):
        raise UserError(f"{place}: log is {log}, it must be true or false")
    if log and low <= 0:
        raise UserError(f"{place}: low is {low:g}, with log it must be above 0")
    if step is not None and (step <= 0 or log):
        raise UserError(f"{place}: step is {step:g}, it must be above 0 and excludes log")
    return Range(low, high, log, step, whole)


def number(place: str, value: object, whole: bool) -> float:
    """Read a number; YAML 1.1 takes ``1e-5`` for a text."""
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
    """Give a value as Optuna keeps choices: lists and mappings as JSON."""
    return value if isinstance(value, str | int | float | bool) or value is None else json.dumps(value)


def flags(drawn: Mapping[str, Value]) -> list[str]:
    """Word drawn values as flags of the command line."""
    return [part for name, value in drawn.items() for part in (f"--{name}", word(value))]


def word(value: Value) -> str:
    """Word a value as the command line takes it."""
    return value if isinstance(value, str) else json.dumps(value)
