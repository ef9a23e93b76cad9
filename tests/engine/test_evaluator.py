"""The own test set of a cross-validation: each cell counts once, however many folds answered for it."""

from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest

from bcc_lightning.engine.evaluator import Evaluator, adapted_by
from bcc_lightning.errors import UserError
from bcc_lightning.tracking.trained_networks import TrainedNetwork


class Fold:
    """A network of which only its answers for its test set are known."""

    def __init__(self, ids: list[str], labels: list[str], first: list[float]) -> None:
        columns = {"first": first, "second": [1 - one for one in first]}
        self.table = pd.DataFrame({"id": ids, "label": labels, **columns}).astype(dict.fromkeys(columns, "float32"))

    def predictions(self, name: str) -> pd.DataFrame:
        if name != "test":
            raise UserError("not filed")
        return self.table


def own_test_of(*folds: Fold) -> tuple[Any, pd.DataFrame]:
    network = TrainedNetwork("parent", "folds", Path("best.ckpt"), folds=cast(Any, folds))
    return Evaluator(network, "not here", gallery=False).own_test()


def test_answers_of_several_folds_for_a_cell_are_averaged() -> None:
    """The second fold lists the cells in another order; the means are (0.9 + 0.5) / 2, (0.6 + 0.2) / 2 and (0.8 + 0.6) / 2."""
    first = Fold(["a", "b", "c"], ["first", "second", "second"], [0.9, 0.6, 0.8])
    second = Fold(["c", "b", "a"], ["second", "second", "first"], [0.6, 0.2, 0.5])
    shown, table = own_test_of(first, second)
    assert list(table) == ["id", "label", "first", "second"]
    assert table["id"].tolist() == ["a", "b", "c"]
    assert table["first"].tolist() == pytest.approx([0.7, 0.4, 0.7])
    assert (shown.assessment.cells, shown.assessment.confusion) == (3, [[1, 0], [1, 1]])
    assert "on 3 cells of" in shown.read
    assert "their probabilities are averaged" in shown.read


def test_answers_for_different_cells_are_pooled() -> None:
    shown, table = own_test_of(Fold(["a", "b"], ["first", "second"], [0.9, 0.6]), Fold(["c"], ["second"], [0.2]))
    assert table["first"].tolist() == pytest.approx([0.9, 0.6, 0.2])
    assert shown.assessment.cells == 3
    assert "averaged" not in shown.read


def test_each_way_of_adapting_has_a_name_of_its_own() -> None:
    assert (adapted_by(("bn",)), adapted_by(("scale", "prior"))) == ("-adapted-bn", "-adapted-scale-prior")
