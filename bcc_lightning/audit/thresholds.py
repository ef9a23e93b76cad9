"""How much of each kind of finding is tolerated."""

from dataclasses import dataclass

from bcc_lightning.argument_types import check_types


@dataclass(frozen=True)
class Thresholds:
    """Tolerated amount of each kind of finding; with more, the command ends with exit code 1.

    Attributes:
        unreadable: files; none, because training would stop at the first.
        copies_across_splits: pairs of the same image in two sets; none, because the test set may then contain training cells.
        copies_within_split: share of all cells that are copies of another; a few count twice and do little harm.
        label_conflicts: pairs of the same image with two labels; none, because at least one of the two is wrong.
        outliers: share of all cells; a few are rare artefacts of smear or camera.
        suspect_labels: share of all cells; experts disagree on a few per cent of cells.
        border_above_chance: how far the lower end of the border probe's interval may be above chance.
        file_above_chance: likewise for the file properties.
        colour_above_chance: likewise for the mean colour, which includes the cell and so predicts its class to some degree.
    """

    unreadable: int = 0
    copies_across_splits: int = 0
    copies_within_split: float = 0.01
    label_conflicts: int = 0
    outliers: float = 0.005
    suspect_labels: float = 0.02
    border_above_chance: float = 0.1
    file_above_chance: float = 0.1
    colour_above_chance: float = 0.4

    def __post_init__(self) -> None:
        """Refuse values that are not numbers: NaN would never be exceeded."""
        check_types("thresholds", Thresholds, vars(self))
