"""Scores of methods: means, intervals, differences, who is better; the judge; the report."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bcc_lightning.explanation.baselines import BASELINES
from bcc_lightning.explanation.choices import DEFAULT_METHOD
from bcc_lightning.explanation.faithfulness import Judge, stratified
from bcc_lightning.explanation.faithfulness_report import examples_figure, print_faithfulness, write_faithfulness
from bcc_lightning.explanation.masks import MaskedCells
from bcc_lightning.explanation.page import PageFacts
from bcc_lightning.explanation.scores import METRICS, Faithfulness, MethodScores, bootstrap, is_better
from tests.explanation.quadrant import dark_spots, inside_quadrant, perfect, quadrant
from tests.modules.test_conformance import two_that_vote
from tests.test_pages import NAMES, SHOWN, assert_dead

METRIC = {metric.name: metric for metric in METRICS}


def method(name: str, baseline: bool = False, **scores: list[float]) -> MethodScores:
    return MethodScores(name, name, baseline, {metric: np.array(values) for metric, values in scores.items()})


def test_every_class_keeps_its_share() -> None:
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    drawn = stratified(labels, 20, seed=0)
    assert np.bincount(labels[drawn]).tolist() == [12, 6, 2]
    assert np.array_equal(drawn, np.unique(drawn))
    assert np.array_equal(drawn, stratified(labels, 20, seed=0))
    assert not np.array_equal(drawn, stratified(labels, 20, seed=1))
    assert stratified(labels, 500, seed=0).tolist() == list(range(100))


def test_the_interval_is_that_of_the_normal_approximation() -> None:
    """400 coins: the mean has a standard error of 0.5 / 20."""
    low, high = bootstrap(np.repeat([0.0, 1.0], 200))
    assert (low, high) == pytest.approx((0.5 - 1.96 * 0.025, 0.5 + 1.96 * 0.025), abs=0.006)


def test_methods_are_compared_cell_by_cell() -> None:
    """A small advantage on every cell counts, although the intervals of the means overlap."""
    base = np.linspace(0, 1, 50)
    one, other = (
        method("one", road=list(base + 0.01), deletion=list(base + 0.01)),
        method("other", road=list(base), deletion=list(base)),
    )
    difference, (low, high) = one.against(other, "road")
    assert (difference, low, high) == pytest.approx((0.01, 0.01, 0.01))
    assert one.interval("road")[0] < other.interval("road")[1]
    assert is_better(one, other, METRIC["road"]) is True
    assert is_better(one, other, METRIC["deletion"]) is False  # where lower is better
    assert is_better(one, one, METRIC["road"]) is None


def test_a_method_must_beat_each_baseline() -> None:
    low, middle, high = ([value] * 10 for value in (0.1, 0.2, 0.3))
    methods = [method("a", road=middle), method("b", road=high), method("x", True, road=low), method("y", True, road=middle)]
    found = Faithfulness(methods, 10, 0, (0.9, 0.2), (np.nan, np.nan))
    assert found.beating_baselines(METRIC["road"]) == ["b"]
    assert found.reference.name == "a"  # the default method is not among them


@pytest.fixture(scope="module")
def judged() -> Faithfulness:
    """The quadrant's network, judged with masks whose nucleus is the quadrant."""
    masks = np.where(inside_quadrant(12), 255, 0).astype(np.uint8)
    masks[:, 16:24, 16:24] = 128
    images = dark_spots(12)
    masked = MaskedCells([f"{i}.bmp" for i in range(12)], np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy()), masks)
    judge = Judge(quadrant(), images, masked)
    return judge.gathered(list(judge.judge(["hirescam", DEFAULT_METHOD])))


def test_the_judge_scores_methods_and_baselines(judged: Faithfulness) -> None:
    assert [one.name for one in judged.methods] == ["hirescam", DEFAULT_METHOD, *BASELINES]
    assert (judged.cells, judged.masked_cells) == (12, 12)
    assert judged.area == pytest.approx((0.25 + 0.0625, 0.25))
    scores = {one.name: one for one in judged.methods}
    assert scores["hirescam"].mean("mass_nucleus") > 0.85 > scores["centre"].mean("mass_nucleus")
    assert scores["hirescam"].mean("pointing_nucleus") == 1
    assert scores["random"].mean("mass_nucleus") == pytest.approx(0.25, abs=0.01)
    assert scores["hirescam"].mean("rank_correlation") < 0.8
    for name in BASELINES:  # which never look at the network
        assert scores[name].mean("rank_correlation") == pytest.approx(1)
        assert scores[name].mean("ssim") == pytest.approx(1, abs=1e-5)
    assert is_better(scores["hirescam"], scores["random"], METRIC["road"]) is True


def test_networks_that_vote_are_judged_together() -> None:
    """Maps of all members; the randomised ensemble forgets all of them."""
    module = two_that_vote(class_names=["a", "b"], image_size=32, pretrained=False)
    (first, *_, last) = Judge(module, dark_spots(3)).judge(["layercam"])
    assert (first.name, last.name) == ("layercam", "random")
    assert first.mean("rank_correlation") < 0.9
    assert len(first.scores["road"]) == 3


def test_the_same_seed_gives_the_same_scores() -> None:
    first, again = (Judge(quadrant(), dark_spots(4), seed=2).score(method("saliency")) for _ in range(2))
    for metric, scores in first.scores.items():
        np.testing.assert_array_equal(again.scores[metric], scores, err_msg=metric)


def test_without_masks_only_test_cells_are_scored() -> None:
    judge = Judge(quadrant(), dark_spots(2))
    found = judge.gathered(list(judge.judge([DEFAULT_METHOD])))
    assert [metric.name for metric in found.metrics] == ["road", "insertion", "deletion", "rank_correlation", "ssim"]
    assert found.as_dict()["area"] is None


def test_the_report_has_all_scores(judged: Faithfulness, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    maps = [(one.title, perfect(2)) for one in judged.methods[:2]]
    masks = np.where(inside_quadrant(2), 255, 0).astype(np.uint8)
    figure = examples_figure(np.zeros((2, 32, 32, 3), np.float32), maps, masks)
    write_faithfulness(judged, PageFacts("".join(NAMES[:2]), "r1", None, ""), figure, tmp_path)
    page = (tmp_path / "faithfulness.html").read_text(encoding="utf-8")
    assert_dead(page)
    assert SHOWN[0] in page
    content = json.loads((tmp_path / "faithfulness.json").read_text())
    table = pd.read_csv(tmp_path / "faithfulness.csv").set_index(["method", "metric"])
    assert (content["cells"], content["masked_cells"], content["reference"]) == (12, 12, DEFAULT_METHOD)
    print_faithfulness(judged)
    printed = capsys.readouterr().out
    for one in judged.methods:
        for metric in METRICS:
            mean = one.mean(metric.name)
            assert content["methods"][one.name][metric.name]["mean"] == pytest.approx(mean)
            assert table.loc[(one.name, metric.name), "mean"] == pytest.approx(mean)
            assert f"{mean:.3f}" in page
            assert f"{mean:.3f}" in printed
    assert "12 test cells" in printed
    assert "12 cells with masks" in printed
    assert content["methods"][DEFAULT_METHOD]["road"]["difference"] == 0
