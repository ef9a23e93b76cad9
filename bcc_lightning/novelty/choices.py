"""How many of its own cells a network may leave to a person; no library is loaded for it."""

from bcc_lightning.errors import UserError

ABSTAIN = 0.05
"""Share of the network's own cells that it may leave to a person."""


def cells_needed(share: float) -> int:
    """Return with how many validation cells or more a cell can be less familiar than a share of the own cells.

    A cell that is stranger than all M of them has a familiarity of 1 / (M + 1), see `Guard.familiarity`.
    """
    return int(1 / share)


def refuse_few_cells(cells: int, share: float) -> None:
    """Refuse a share that nothing can fall below, beside so many validation cells.

    Raises:
        UserError: with the number of cells that are needed, and the shares that these allow.
    """
    if cells < cells_needed(share):
        raise UserError(
            f"--abstain {share:g} needs {cells_needed(share):,} validation cells or more, but there are {cells:,} to compare "
            f"with. What is stranger than all of them counts as one in {cells + 1:,}: nothing would ever be left to a person. "
            f"Next step: --abstain above {1 / (cells + 1):.3g}, or a network that was trained with more validation cells"
        )


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
