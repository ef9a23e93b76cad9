"""How many validation cells it takes to leave cells to a person."""

import pytest

from bcc_lightning.errors import UserError
from bcc_lightning.novelty.choices import cells_needed, refuse_few_cells


@pytest.mark.parametrize(("share", "cells"), [(0.05, 20), (0.1, 10), (0.03, 33), (0.01, 100), (0.5, 2), (0.9, 1)])
def test_validation_cells_for_a_share(share: float, cells: int) -> None:
    """A cell that is stranger than all M is one of M + 1, which must be below the share."""
    assert cells_needed(share) == cells
    assert 1 / (cells + 1) < share <= 1 / cells
    refuse_few_cells(cells, share)
    with pytest.raises(UserError, match=f"--abstain {share:g} needs {cells} validation cells or more, but there are {cells - 1}"):
        refuse_few_cells(cells - 1, share)


def test_what_so_few_cells_allow() -> None:
    with pytest.raises(UserError, match=r"counts as one in 7: nothing .* Next step: --abstain above 0\.143, or"):
        refuse_few_cells(6, 0.05)
