"""Everything about one set: figures against scikit-learn, undefined ones as None, notes where figures mislead."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import average_precision_score, balanced_accuracy_score, precision_recall_fscore_support, roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.assessment import assess, read_predictions
from bcc_lightning.evaluation.assessment_figures import least_sure
from bcc_lightning.evaluation.metrics import Predictions, worst_mistakes

NAMES = ["basophil", "monocyte", "platelet"]


def drawn(cells: int = 200, seed: int = 0) -> Predictions:
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(3, (cells,), generator=generator)
    logits = torch.randn(cells, 3, generator=generator) + 1.5 * torch.eye(3)[label]
    return Predictions(torch.arange(cells), label, logits.softmax(dim=1))


def answering(label: list[int], predicted: list[int], classes: int = 3) -> Predictions:
    probability = torch.full((len(label), classes), 0.1 / (classes - 1))
    probability[torch.arange(len(label)), torch.tensor(predicted)] = 0.9
    return Predictions(torch.arange(len(label)), torch.tensor(label), probability)


def test_figures_of_classes_are_those_of_scikit_learn() -> None:
    one = drawn()
    found = assess("test", one, drawn(seed=1), NAMES)
    true, probability = one.label.numpy(), one.probability.numpy()
    precision, recall, f1, cells = precision_recall_fscore_support(true, probability.argmax(axis=1))
    for number, figures in enumerate(found.classes.values()):
        assert [figures.precision, figures.recall, figures.f1, figures.cells] == pytest.approx(
            [precision[number], recall[number], f1[number], cells[number]]
        )
        assert figures.auroc == pytest.approx(roc_auc_score(true == number, probability[:, number]))
        assert figures.average_precision == pytest.approx(average_precision_score(true == number, probability[:, number]))
        right = int(((true == number) & (probability.argmax(axis=1) == number)).sum())
        for name, total in (("precision", figures.predicted), ("recall", figures.cells)):
            assert figures.intervals[name] == pytest.approx(proportion_confint(right, total, method="wilson"))
        low, high = figures.intervals["f1"]
        assert low < f1[number] < high
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(true, probability.argmax(axis=1)))
    assert found.accuracy == pytest.approx(np.mean(true == probability.argmax(axis=1)))


def test_below_the_most_frequent_class() -> None:
    found = assess("clinic", answering([0, 1, 1, 1], [0, 0, 0, 1]), None, NAMES)
    assert (found.accuracy, found.most_frequent, found.most_frequent_class) == (0.5, 0.75, "monocyte")
    assert found.is_below_most_frequent
    assert found.as_dict()["below_most_frequent"] is True
    assert any("no better than 0.7500 for always answering monocyte" in note for note in found.notes)
    assert not assess("clinic", answering([0, 1, 1, 1], [0, 1, 1, 0]), None, NAMES).is_below_most_frequent  # a tie is not below


def test_answers_that_the_set_does_not_hold_are_told() -> None:
    found = assess("clinic", answering([0, 1, 1, 0], [2, 2, 1, 0]), None, NAMES)
    assert any(
        "2 of 4 cells of test set clinic were taken for classes that it does not hold: platelet (2)." in n for n in found.notes
    )
    whole = assess("clinic", answering([0, 1, 2], [2, 1, 0]), None, NAMES)
    assert not any("does not hold" in note for note in whole.notes)


def test_undefined_figures_are_none() -> None:
    found = assess("clinic", answering([0, 1, 1], [0, 1, 1]), drawn(), NAMES)
    absent = found.classes["platelet"]
    assert (absent.cells, absent.precision, absent.recall, absent.f1, absent.auroc) == (0, None, None, None, None)
    assert absent.intervals == {}
    assert "NaN" not in json.dumps(found.as_dict())


def test_nothing_is_fitted_without_a_validation_set() -> None:
    found = assess("test", drawn(), None, NAMES)
    assert (found.temperature, found.conformal, found.calibration["after"]) == (None, None, None)
    assert any("no predictions of the validation set" in note for note in found.notes)


def test_a_temperature_at_its_limit_is_told() -> None:
    perfect = assess("test", drawn(), answering([0, 1, 2], [0, 1, 2]), NAMES)
    assert any("stopped at the end of the range in which it is sought (0.05)" in note for note in perfect.notes)
    assert not any("end of the range" in note for note in assess("test", drawn(), drawn(seed=1), NAMES).notes)


def test_what_is_fitted_depends_on_the_validation_set_alone() -> None:
    validation = drawn(seed=1)
    temperatures = {assess("a", drawn(seed=seed), validation, NAMES).temperature for seed in (2, 3)}
    assert len(temperatures) == 1


def test_a_table_is_read_back_by_the_names_of_its_columns() -> None:
    table = pd.DataFrame({"id": ["a", "b"], "label": ["x", "label"], "x": [0.75, 0.25], "class:label": [0.25, 0.75]})
    found, names = read_predictions(table)
    assert names == ["x", "label"]
    assert found.label.tolist() == [0, 1]
    assert found.probability.tolist() == [[0.75, 0.25], [0.25, 0.75]]


def test_tables_that_cannot_be_read() -> None:
    with pytest.raises(UserError, match="hold the label y, which has no column; allowed are x, z"):
        read_predictions(pd.DataFrame({"id": ["a"], "label": ["y"], "x": [0.5], "z": [0.5]}))
    with pytest.raises(UserError, match="hold no cells"):
        read_predictions(pd.DataFrame({"id": [], "label": [], "x": [], "z": []}))


def test_the_gallery_shows_the_worst_mistakes_and_the_least_sure_cells() -> None:
    probability = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.95, 0.05], [0.55, 0.45], [0.5, 0.5]])
    one = Predictions(torch.arange(5), torch.tensor([1, 1, 1, 0, 0]), probability)
    assert worst_mistakes(one, 5) == [2, 0]
    assert worst_mistakes(one, 1) == [2]
    assert least_sure(one, 2) == [4, 3]
