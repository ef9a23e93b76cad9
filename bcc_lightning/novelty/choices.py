"""How many of its own cells a network may leave to a person; no library is loaded for it."""

from bcc_lightning.errors import UserError

ABSTAIN = 0.05
"""Share of the network's own cells that it may leave to a person."""


def read_share(value: float | None) -> float | None:
    """Check the share of own cells that may be left to a person.

    Raises:
        UserError: it is not between 0 and 1.
    """
    if value is not None and not 0 < value < 1:
        raise UserError(
            f"--abstain is {value}, it must be above 0 and below 1: the share of the network's own cells that it may leave to a "
            f"person, such as {ABSTAIN}"
        )
    return value
