"""Checks on the parameters of our own transforms; Albumentations checks its own."""


def refuse_outside(low: float, high: float, **values: float) -> None:
    """Refuse parameters of a transform that are out of range.

    Raises:
        ValueError: with name, value and range.
    """
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(f"{name} must be a number from {low:g} to {high:g}, not {value!r}")


def ordered_pair(name: str, pair: tuple[float, float], low: float, high: float) -> tuple[float, float]:
    """Check a range of two numbers.

    Raises:
        ValueError: not two numbers from `low` to `high` in ascending order.
    """
    if isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2:  # noqa: PLR2004 - a pair has two
        raise ValueError(f"{name} must be two numbers, [smallest, largest], not {pair!r}")
    refuse_outside(low, high, **{name: pair[0]})
    refuse_outside(pair[0], high, **{name: pair[1]})
    return float(pair[0]), float(pair[1])
