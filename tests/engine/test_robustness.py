"""Faults of images on the own test set: what they are not measured on."""

from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest

from bcc_lightning.engine.robustness import evaluate_robustness, refuse_trained_on
from bcc_lightning.errors import UserError
from bcc_lightning.evaluate import main
from bcc_lightning.tracking.trained_networks import TrainedNetwork


class Fold:
    """A network of which only the cells are known that it was tested on."""

    def __init__(self, run_id: str, *tested: str) -> None:
        self.run_id = run_id
        self.tested = tested

    def predictions(self, _: str) -> pd.DataFrame:
        return pd.DataFrame({"id": self.tested})


def network(*folds: Fold) -> TrainedNetwork:
    return TrainedNetwork("parent", "2 folds of traveller", Path("best.ckpt"), folds=cast(Any, folds))


def test_folds_do_not_vote_on_cells_that_some_were_trained_on(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"2 folds of traveller are tested on different cells.* name the run of one fold.*--run aaaa"
    ):
        evaluate_robustness(network(Fold("aaaa", "1", "2"), Fold("bbbb", "3", "4")), tmp_path)
    assert not list(tmp_path.iterdir())


def test_folds_vote_on_a_test_set_that_all_share() -> None:
    refuse_trained_on(network(Fold("aaaa", "1", "2"), Fold("bbbb", "2", "1")))
    refuse_trained_on(network())  # a single network


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--adapt", "bn"], "--adapt"),
        (["--name", "other"], "--name"),
        (["--data", "CellFolder", "--data.root", "."], "--data"),
        (["--data.test_on", "[x]", "--name", "other", "--adapt", "bn"], "--data.test_on and --name and --adapt"),
    ],
)
def test_options_for_further_sets(flags: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--run", "a", "--out", "out", "--robustness", "true", *flags]) == 2
    assert f"on the run's own test set, without {named}. Next step: leave" in capsys.readouterr().err
    assert not Path("out").exists()
