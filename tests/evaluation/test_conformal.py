"""Conformal sets: p-values by hand, the promise over many resplits, classes without calibration cells."""

import math

import numpy as np
import pytest
import torch

from bcc_lightning.evaluation.conformal import class_p_values, conformal, coverage_over_resplits, in_sets
from bcc_lightning.evaluation.metrics import Predictions

NAMES = ["basophil", "monocyte", "platelet"]


def predictions(probability: torch.Tensor, label: torch.Tensor) -> Predictions:
    return Predictions(torch.arange(len(label)), label, probability)


def drawn(cells: int, seed: int, shift: float = 0.0) -> Predictions:
    """Draw cells of three classes, one of them rare; `shift` moves what is seen of them."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.multinomial(torch.tensor([0.1, 0.3, 0.6]), cells, replacement=True, generator=generator)
    seen = torch.randn(cells, 3, generator=generator) + 2 * torch.eye(3)[label] + shift * torch.tensor([0.0, 0.0, -2.0])
    return predictions((1.5 * seen).softmax(dim=1), label)


def test_p_values_by_hand() -> None:
    validation = predictions(
        torch.tensor([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0], [0.6, 0.4, 0.0], [0.3, 0.7, 0.0]]), torch.tensor([0, 0, 0, 1])
    )
    found = class_p_values(np.array([[0.7, 0.3, 0.0], [0.95, 0.05, 0.0]], np.float32), validation)
    # Class 0: one of three validation cells fits no better than 0.7, all three no better than 0.95. Class 1: none of one at 0.3.
    assert found[:, 0] == pytest.approx([(1 + 1) / 4, (3 + 1) / 4])
    assert found[:, 1] == pytest.approx([1 / 2, 1 / 2])
    assert found[:, 2] == pytest.approx([1, 1])  # never seen, so that it cannot be ruled out


def test_a_p_value_of_exactly_the_error_rate_is_ruled_out() -> None:
    assert in_sets(np.array([[0.05, 0.0500001, 1.0]]), 0.95).tolist() == [[False, True, True]]


@pytest.mark.parametrize("level", [0.90, 0.95])
def test_coverage_over_200_resplits_is_what_theory_says(level: float) -> None:
    one = drawn(1200, seed=0)
    coverage = coverage_over_resplits(one, level, resplits=200)
    assert coverage.shape == (200, 3)
    for number in range(3):
        calibrating = round(0.5 * int((one.label == number).sum()))
        # Without ties the rank of a new cell among the calibrating ones is uniform (Vovk 2012).
        expected = 1 - math.floor((1 - level) * (calibrating + 1) + 1e-9) / (calibrating + 1)
        error = coverage[:, number].std(ddof=1) / math.sqrt(200)
        assert coverage[:, number].mean() == pytest.approx(expected, abs=4 * error)
        assert expected >= level


def test_sets_of_fresh_cells_keep_the_promise_and_shifted_cells_show_that_they_do_not() -> None:
    validation = drawn(1500, seed=1)
    fresh, shifted = (conformal(drawn(1500, seed=2, shift=shift), validation, NAMES)["0.95"] for shift in (0.0, 1.0))
    assert fresh.coverage == pytest.approx(0.95, abs=0.03)
    low, high = fresh.interval
    assert low < fresh.coverage < high
    of_rare = fresh.classes["basophil"]
    assert of_rare.coverage == pytest.approx(0.95, abs=0.06)
    assert (of_rare.cells, of_rare.calibrated_on) == (
        int((drawn(1500, seed=2).label == 0).sum()),
        int((validation.label == 0).sum()),
    )
    assert (shifted.classes["platelet"].coverage or 0) < 0.7


def test_counts_of_sets_add_up() -> None:
    validation, one = drawn(600, seed=3), drawn(300, seed=4)
    found = conformal(one, validation, NAMES)["0.90"]
    sets = in_sets(class_p_values(one.probability.numpy(), validation), 0.90)
    assert found.mean_size == pytest.approx(sets.sum() / 300)
    assert found.single == pytest.approx(np.mean(sets.sum(axis=1) == 1))
    assert found.empty == pytest.approx(np.mean(~sets.any(axis=1)))
    assert found.coverage == pytest.approx(np.mean([row[label] for row, label in zip(sets, one.label.tolist(), strict=True)]))
    weighted = sum(c.cells * (c.coverage or 0) for c in found.classes.values())
    assert weighted / 300 == pytest.approx(found.coverage)


def test_a_class_without_cells_has_no_coverage() -> None:
    validation = drawn(300, seed=5)
    one = drawn(200, seed=6)
    kept = one.label != 0
    found = conformal(predictions(one.probability[kept], one.label[kept]), validation, NAMES)["0.95"].classes["basophil"]
    assert (found.cells, found.coverage, found.interval, found.mean_size) == (0, None, None, None)
