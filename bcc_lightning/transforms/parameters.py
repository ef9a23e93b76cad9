"""Checks of the parameters of this project's transforms; Albumentations checks its own."""


def refuse_outside(low: float, high: float, **values: float) -> None:
    """Refuse parameters of a transform that are out of range.

    Args:
        low: smallest allowed value.
        high: largest allowed value.
        values: parameters by name.

    Raises:
        ValueError: names the parameter, its value and the range.
    """
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(f"{name} must be a number from {low:g} to {high:g}, not {value!r}")


def ordered_pair(name: str, pair: tuple[float, float], low: float, high: float) -> tuple[float, float]:
    """Check a parameter that is a range, and return it as two floats.

    Args:
        name: of the parameter.
        pair: smallest and largest value.
        low: smallest allowed value.
        high: largest allowed value.

    Raises:
        ValueError: the pair is not two numbers from `low` to `high` in ascending order.
    """
    if isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2:  # noqa: PLR2004 - a pair has two
        raise ValueError(f"{name} must be two numbers, [smallest, largest], not {pair!r}")
    refuse_outside(low, high, **{name: pair[0]})
    refuse_outside(pair[0], high, **{name: pair[1]})
    return float(pair[0]), float(pair[1])
