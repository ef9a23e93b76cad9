"""Calibration errors and temperature: hand arithmetic, torchmetrics, torch-uncertainty and a closed form."""

import math

import pytest
import torch
from torch.utils.data import DataLoader
from torch_uncertainty.post_processing import TemperatureScaler
from torchmetrics.functional.classification import multiclass_calibration_error

from bcc_lightning.evaluation.calibration import TEMPERATURES, at_temperature, calibration, fit_temperature
from bcc_lightning.evaluation.metrics import Predictions


def predictions(probability: list[list[float]] | torch.Tensor, label: list[int] | torch.Tensor) -> Predictions:
    label = torch.as_tensor(label)
    return Predictions(torch.arange(len(label)), label, torch.as_tensor(probability, dtype=torch.float32))


def drawn(cells: int = 400, classes: int = 4, sharpness: float = 2.0) -> Predictions:
    """Draw labels from probabilities, and answer with others that are sharper: an overconfident network."""
    generator = torch.Generator().manual_seed(0)
    logits = 1.5 * torch.randn(cells, classes, generator=generator)
    label = torch.multinomial(logits.softmax(dim=1), 1, generator=generator).squeeze(1)
    return predictions((sharpness * logits).softmax(dim=1), label)


def test_errors_by_hand() -> None:
    # Four cells, all in the bins of 0.9 and 0.1: three right where 0.9 was promised.
    found = calibration(predictions([[0.9, 0.1]] * 4, [0, 0, 0, 1]))
    assert found.ece == pytest.approx(0.15, abs=1e-6)
    assert found.classwise == pytest.approx(0.15, abs=1e-6)  # class 0: |0.9 - 0.75|, class 1: |0.1 - 0.25|
    assert found.adaptive == pytest.approx((3 * 0.1 + 0.9) / 4, abs=1e-6)  # four bins of one cell each
    assert found.log_loss == pytest.approx(-(3 * math.log(0.9) + math.log(0.1)) / 4, abs=1e-6)
    (one,) = found.bins
    assert (one.cells, one.accuracy) == (4, 0.75)
    assert one.confidence == pytest.approx(0.9)
    assert one.low <= 0.9 <= one.high


def test_bins_add_up_to_the_error_of_torchmetrics() -> None:
    one = drawn()
    bins = calibration(one).bins
    expected = float(multiclass_calibration_error(one.probability, one.label, 4, 15))
    assert sum(b.cells * abs(b.accuracy - b.confidence) for b in bins) / 400 == pytest.approx(expected, abs=1e-6)
    assert sum(b.cells for b in bins) == 400


def test_a_sum_that_was_rounded_above_one_is_no_logit() -> None:
    exact = calibration(predictions([[1.0, 0.0], [0.3, 0.7]], [0, 1]))
    rounded = calibration(predictions([[1.0000001, 0.0], [0.3, 0.7]], [0, 1]))
    assert rounded.ece == pytest.approx(exact.ece, abs=1e-6)
    assert rounded.classwise == pytest.approx(exact.classwise, abs=1e-6)


def test_temperature_in_closed_form() -> None:
    # 0.9 is promised, 8 of 10 are right: the logit log 9 must become log 4.
    found = fit_temperature(predictions([[0.9, 0.1]] * 10, [0] * 8 + [1] * 2))
    assert found == pytest.approx(math.log(9) / math.log(4), rel=1e-4)


def test_temperature_of_another_library_on_the_logits() -> None:
    one = drawn()
    scaler = TemperatureScaler(max_iter=500)
    logits = one.probability.log() + 3.7 * torch.arange(400).unsqueeze(1).cos()  # a constant per cell, which the softmax ignores
    scaler.fit(DataLoader(list(zip(logits, one.label, strict=True)), batch_size=400), progress=False)
    assert fit_temperature(one) == pytest.approx(float(scaler.temperature[0]), rel=2e-3)
    assert fit_temperature(one) == pytest.approx(2.0, abs=0.35)  # the sharpness with which the answers were made


def test_scaling_at_the_temperature_calibrates_and_keeps_the_answers() -> None:
    one = drawn()
    scaled = at_temperature(one, fit_temperature(one))
    assert torch.equal(scaled.predicted, one.predicted)
    assert calibration(scaled).log_loss < calibration(one).log_loss
    assert calibration(scaled).ece < calibration(one).ece / 2
    assert torch.allclose(at_temperature(one, 1.0).probability, one.probability, atol=1e-6)


def test_validation_cells_that_are_all_right_end_at_the_limit() -> None:
    found = fit_temperature(predictions([[0.9, 0.1], [0.2, 0.8]], [0, 1]))
    assert found == TEMPERATURES[0]
    assert fit_temperature(predictions([[0.999999, 0.000001]] * 3, [0] * 3)) == TEMPERATURES[0]  # a plateau without any loss
    assert fit_temperature(predictions([[0.9, 0.1], [0.2, 0.8]], [1, 0])) == TEMPERATURES[1]  # worse than chance


def test_probabilities_of_zero_have_a_finite_loss() -> None:
    one = predictions([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], [0, 1, 1])
    assert math.isfinite(calibration(one).log_loss)
    assert math.isfinite(fit_temperature(one))
    assert bool(at_temperature(one, 2.0).probability.isfinite().all())


def test_a_single_cell() -> None:
    found = calibration(predictions([[0.6, 0.4]], [1]))
    assert found.adaptive == pytest.approx(0.6, abs=1e-6)
