"""The differential: published limits, hand arithmetic, an independent optimiser, and counts that do not fit."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from bcc_lightning.differential.correction import most_likely_shares, rates
from bcc_lightning.differential.counting import COLUMNS, Confusion, count_cells, differential
from bcc_lightning.errors import UserError

CLASSES = ("neutrophil", "lymphocyte", "ig")
CONFUSION = Confusion(CLASSES, np.array([[960, 0, 40], [0, 500, 0], [30, 0, 270]]))
PERFECT = Confusion(CLASSES, np.diag([1_000_000] * 3))


def slides(*counts: tuple[int, ...], classes: tuple[str, ...] = CLASSES) -> pd.DataFrame:
    """A row of counts per slide."""
    return pd.DataFrame(np.array(counts), index=[f"slide {number}" for number in range(len(counts))], columns=list(classes))


# Rümke, Blood Cells 11 (1985) 33: cells found, cells counted, limits in %.
RUEMKE = [
    (0, 100, 0, 3.6),
    (1, 100, 0.03, 5.5),
    (5, 100, 1.6, 11.3),
    (10, 100, 4.9, 17.6),
    (50, 100, 39.8, 60.2),
    (20, 200, 6.2, 15.0),
    (50, 500, 7.5, 13.0),
]


@pytest.mark.parametrize(("found", "counted", "low", "high"), RUEMKE)
def test_limits_are_those_that_ruemke_published(found: int, counted: int, low: float, high: float) -> None:
    table = differential(slides((found, counted - found), classes=("eosinophil", "other")), None)
    row = table[table["class"] == "eosinophil"].iloc[0]
    assert row["count"] == found
    assert row["share"] == found / counted
    assert 100 * row["low"] == pytest.approx(low, abs=0.1)
    assert 100 * row["high"] == pytest.approx(high, abs=0.1)


def test_one_row_per_slide_and_class_in_the_promised_columns() -> None:
    table = differential(slides((60, 30, 10), (1, 2, 3)), CONFUSION)
    assert tuple(table.columns) == COLUMNS
    assert list(zip(table["slide"], table["class"], strict=True)) == [
        (slide, name) for slide in ("slide 0", "slide 1") for name in CLASSES
    ]
    assert table["count"].tolist() == [60, 30, 10, 1, 2, 3]


def test_without_confusions_nothing_is_corrected() -> None:
    assert differential(slides((60, 30, 10)), None)[["corrected", "corrected_low", "corrected_high"]].isna().all(axis=None)


def test_correction_inverts_the_confusions() -> None:
    # True shares 70, 20 and 10 %: of the 700 neutrophils 4 % are called ig, of the 100 ig 10 % neutrophil.
    table = differential(slides((682_000, 200_000, 118_000)), Confusion(CLASSES, CONFUSION.counts * 1000))
    assert table["corrected"].to_numpy() == pytest.approx([0.7, 0.2, 0.1], abs=1e-4)


def test_corrected_shares_are_most_likely_even_where_the_inverse_is_negative() -> None:
    counts = np.array([[190, 10, 0], [150, 20, 30], [0, 0, 7]])  # no ig, although 4 % of the neutrophils are called so
    found = most_likely_shares(counts, CONFUSION.counts)
    matrix = rates(CONFUSION.counts)
    for row, shares in zip(counts, found, strict=True):
        independent = minimize(
            lambda p, row=row: -row @ np.log(np.maximum(p @ matrix, 1e-300)),
            np.full(3, 1 / 3),
            bounds=[(0, 1)] * 3,
            constraints={"type": "eq", "fun": lambda p: p.sum() - 1},
            method="SLSQP",
            options={"ftol": 1e-14},
        )
        assert shares == pytest.approx(independent.x, abs=1e-4)
    assert found[0, 2] == 0


def test_without_confusions_the_corrected_limits_are_jeffreys() -> None:
    # Jeffreys' limits, Brown, Cai and DasGupta (2001); the third class takes half a cell as well.
    from statsmodels.stats.proportion import proportion_confint

    table = differential(slides((120, 76, 4)), PERFECT)
    for row, found in zip(table.itertuples(), (120, 76, 4), strict=True):
        low, high = proportion_confint(found, 200.5, method="jeffreys")
        assert row.corrected == pytest.approx(found / 200, abs=1e-4)
        assert row.corrected_low == pytest.approx(low, abs=0.004)
        assert row.corrected_high == pytest.approx(high, abs=0.004)


def test_the_fewer_validation_cells_the_wider_the_corrected_limits() -> None:
    widths = []
    for factor in (1, 10, 100):
        table = differential(slides((1500, 300, 200)), Confusion(CLASSES, CONFUSION.counts * factor // 10))
        widths.append((table["corrected_high"] - table["corrected_low"])[2])
    assert widths[0] > 1.5 * widths[1] > 1.5 * widths[2]


def test_false_immature_granulocytes_of_a_healthy_smear_are_corrected() -> None:
    # 4 % of 1,200 neutrophils are called ig: 48 cells. The plain limits exclude the truth, 0; the corrected ones do not.
    table = differential(slides((1152, 800, 48)), CONFUSION)
    ig = table[table["class"] == "ig"].iloc[0]
    assert ig["low"] > 0.015
    assert ig["corrected"] < 0.002
    assert ig["corrected_low"] == 0


def test_a_class_that_was_not_found_is_not_excluded_by_few_cells() -> None:
    # 7 false ig are expected among 180 neutrophils; that none was found says no more than none of 200 cells does.
    ig = differential(slides((180, 20, 0)), CONFUSION).iloc[2]
    assert ig["corrected"] == 0
    assert ig["corrected_low"] == 0
    assert 0.01 < ig["corrected_high"] < 0.018  # Jeffreys: 2.5 cells of 200


def test_limits_enclose_the_share_and_do_not_depend_on_other_slides_or_the_order_of_classes() -> None:
    counts = slides((60, 30, 10), (0, 0, 100), (100, 0, 0), (190, 10, 0), (0, 1, 0))
    table = differential(counts, CONFUSION)
    assert (table["low"] <= table["share"]).all()
    assert (table["share"] <= table["high"]).all()
    assert (table["corrected_low"] <= table["corrected"]).all()
    assert (table["corrected"] <= table["corrected_high"]).all()
    assert table.groupby("slide")["corrected"].sum().to_numpy() == pytest.approx(1)
    alone = differential(counts.iloc[3:4], CONFUSION)
    pd.testing.assert_frame_equal(alone, table[table["slide"] == "slide 3"].reset_index(drop=True))
    turned = differential(counts[["ig", "neutrophil", "lymphocyte"]], CONFUSION).set_index(["slide", "class"])
    both = table.set_index(["slide", "class"])
    assert turned.loc[both.index, "corrected"].to_numpy() == pytest.approx(both["corrected"].to_numpy(), abs=1e-6)


def test_a_slide_without_cells_has_no_shares_and_the_widest_limits() -> None:
    table = differential(slides((0, 0, 0), (6, 3, 1)), CONFUSION)
    empty = table[table["slide"] == "slide 0"]
    assert empty[["share", "corrected"]].isna().all(axis=None)
    assert (empty[["low", "corrected_low"]] == 0).all(axis=None)
    assert (empty[["high", "corrected_high"]] == 1).all(axis=None)
    assert table.loc[3:, "corrected"].notna().all()
    assert len(differential(slides((0, 0, 0)), CONFUSION)) == 3
    assert len(differential(slides((1, 1, 1)).iloc[:0], CONFUSION)) == 0


def test_a_class_without_validation_cells_is_not_corrected_the_others_are() -> None:
    unseen = Confusion(CLASSES, np.array([[960, 0, 40], [0, 0, 0], [30, 0, 270]]))
    table = differential(slides((682, 200, 118)), unseen)
    assert table.loc[1, ["corrected", "corrected_low", "corrected_high"]].isna().all()
    assert table.loc[[0, 2], "corrected"].to_numpy() == pytest.approx([0.7, 0.1], abs=0.005)
    nothing = Confusion(CLASSES, np.zeros((3, 3), np.int64))
    assert differential(slides((6, 3, 1)), nothing)["corrected"].isna().all()


def test_a_network_that_predicts_a_single_class_tells_nothing() -> None:
    blind = Confusion(CLASSES, np.array([[300, 0, 0], [300, 0, 0], [300, 0, 0]]))
    table = differential(slides((100, 0, 0)), blind)
    assert (table["corrected_high"] > 0.97).all()
    assert (table["corrected_low"] < 0.03).all()


def test_a_differential_of_some_classes_has_these_as_the_whole() -> None:
    table = differential(slides((60, 30, 110)), CONFUSION, of=["neutrophil", "lymphocyte"])
    assert table["class"].tolist() == ["neutrophil", "lymphocyte"]
    assert table["share"].tolist() == [60 / 90, 30 / 90]
    whole = differential(slides((60, 30, 110)), CONFUSION)["corrected"]
    assert table["corrected"][0] == pytest.approx(whole[0] / (whole[0] + whole[1]))
    assert (table["corrected_low"] <= table["corrected"]).all()
    with pytest.raises(UserError, match="'blast'"):
        differential(slides((60, 30, 110)), None, of=["blast"])


def test_cells_are_counted_by_slide_in_order_of_appearance() -> None:
    table = count_cells(["b", "a", "b", "b"], ["ig", "neutrophil", "ig", "neutrophil"], CLASSES)
    assert list(table.index) == ["b", "a"]
    assert table.to_numpy().tolist() == [[1, 0, 2], [1, 0, 0]]
    assert count_cells([], [], CLASSES).shape == (0, 3)
    with pytest.raises(UserError, match="'blast', which is not one of neutrophil, lymphocyte, ig"):
        count_cells(["a"], ["blast"], CLASSES)


def test_confusions_are_counted_from_filed_predictions() -> None:
    table = pd.DataFrame(
        {"id": list("abc"), "label": ["ig", "label", "ig"], "class:label": [0.1, 0.9, 0.8], "ig": [0.9, 0.1, 0.2]}
    )
    assert Confusion.of_predictions(table, ["label", "ig"]).counts.tolist() == [[1, 0], [1, 1]]
    with pytest.raises(UserError, match="'blast'"):
        Confusion.of_predictions(table, ["ig", "blast"])
    with pytest.raises(UserError, match="cells of 'label'"):
        Confusion.of_predictions(table, ["ig"])


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (slides((1, 2, -1)), "-1 cells of 'ig'"),
        (slides((1, 2, 3)) / 7, "0.142857 cells of 'neutrophil'"),
        (slides((1, 2, 3)) * np.nan, "nan cells"),
        (pd.concat([slides((1, 2, 3))] * 2), "'slide 0' has counts twice"),
        (slides((1, 2), classes=CLASSES[:2]), "count all classes of the network"),
    ],
)
def test_counts_that_do_not_fit_are_refused(counts: pd.DataFrame, message: str) -> None:
    with pytest.raises(UserError, match=message):
        differential(counts, CONFUSION)


def test_coverage_on_drawn_slides() -> None:
    """Drawn slides of a known mix; ``benchmarks/differential_coverage.py`` does the same at length."""
    generator, mix = np.random.default_rng(5), np.array([0.7, 0.22, 0.08])
    matrix = CONFUSION.counts / CONFUSION.counts.sum(axis=1, keepdims=True)
    within, plain = np.zeros(3), np.zeros(3)
    for _ in range(60):
        drawn = np.stack([generator.multinomial(cells, row) for cells, row in zip((333, 122, 290), matrix, strict=True)])
        table = differential(slides(*generator.multinomial(500, mix @ matrix, size=5)), Confusion(CLASSES, drawn))
        truth = np.tile(mix, 5)
        within += ((table["corrected_low"] <= truth) & (truth <= table["corrected_high"])).to_numpy().reshape(5, 3).sum(axis=0)
        plain += ((table["low"] <= truth) & (truth <= table["high"])).to_numpy().reshape(5, 3).sum(axis=0)
    # 300 slides: 95 % with a standard error of 1.3 points. Plain limits miss the neutrophils that are called ig.
    assert (within / 300 > 0.91).all()
    assert plain[2] / 300 < 0.85
