"""Method comparison against values that others have published or compute."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import odr
from sklearn.metrics import cohen_kappa_score

from bcc_lightning.differential.agreement import agree, bland_altman, deming, kappa_by_class, passing_bablok
from bcc_lightning.differential.figures import agreement_figure, differential_figure
from bcc_lightning.differential.reference import read_reference
from bcc_lightning.errors import UserError

SERUM = """
0.82 1.83 1.39 0.81 1.72 3.23 1.23 1.37 1.72 0.96 0.76 1.15 0.95 1 1.52 1.56 2.45 1.85 0.89 0.82 1.01 0.96 3.38 1.31 1.1
1.26 1.15 1.2 1.01 1.33 0.87 1.66 1.41 1.08 1.17 1.77 1.33 1.23 1.21 1.2 1.49 0.89 1.09 1.03 1.07 0.89 1.39 0.96 1.06
1.17 0.9 1.39 0.91 2.28 0.9 1.34 1.32 1.02 1.04 1.27 1.08 1.1 1.39 1.07 0.79 1.02 0.94 1.99 0.7 0.84 0.66 1.1 0.9 2.06
1.31 1.03 1.61 1.52 1.11 0.85 1.2 1.09 1.27 2.06 1.21 0.77 1.06 1.02 1 1.47 0.97 1.7 1.78 0.93 0.92 1.59 0.68 0.7 1.08
0.83 1.17 0.98 0.77 0.91 1.1 0.8 0.85 0.82
"""
PLASMA = """
0.79 1.62 1.36 1.3 1.88 3.35 1.06 1.34 1.56 0.94 0.69 1.16 0.71 0.83 1.44 1.26 2.36 1.9 0.95 0.77 0.82 0.88 3.42 1.15
0.96 1.12 1.02 1.29 0.87 1.13 0.82 1.33 1.14 0.93 1.09 1.89 1.57 1.29 1.13 1.11 1.61 0.79 1.19 0.96 1.25 0.87 1.36 0.86
1.03 0.86 0.8 1.22 0.86 2.25 0.87 1.3 1.04 0.92 1.01 1.21 1.11 1.21 1.54 0.99 0.79 1.06 1.02 2.15 0.56 1.01 0.59 1.17
0.82 2.09 1.44 1.22 1.77 1.6 1.13 1.06 1.38 1.24 1.29 2.08 1.31 0.82 1.28 1.15 1.04 1.51 1.13 1.84 1.94 1.32 1.36 1.88
0.73 0.78 1.01 0.9 1.3 0.96 0.61 1.27 1.05 1.12 0.72 0.87
"""
WRIGHT = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]


def creatinine() -> tuple[np.ndarray, np.ndarray]:
    """Serum and plasma creatinine of 108 patients in mg/dl: the data set of R's package mcr without its two incomplete pairs."""
    serum, plasma = (np.array(text.split(), np.float64) for text in (SERUM, PLASMA))
    assert len(serum) == len(plasma) == 108
    return serum, plasma


def test_passing_bablok_is_that_of_mcr() -> None:
    """What mcr's ``mcreg(method.reg="PaBa", method.ci="analytical")`` prints for its own data."""
    line = passing_bablok(*creatinine())
    assert (line.slope, line.slope_low, line.slope_high) == pytest.approx((1.0880089, 1.0, 1.173005), abs=1e-4)
    assert (line.intercept, line.intercept_low, line.intercept_high) == pytest.approx((-0.1171729, -0.2001149, -0.02), abs=1e-4)


def test_passing_bablok_by_hand() -> None:
    """Slopes of the pairs of (1,1) (2,3) (3,3) (4,5): 2, 1, 4/3, 0, 1, 2; their median is 7/6."""
    line = passing_bablok(np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 3, 5]))
    assert (line.slope, line.intercept) == pytest.approx((7 / 6, 1 / 12))


def test_methods_change_places_in_both_lines() -> None:
    x, y = creatinine()
    for fit in (passing_bablok, deming):
        assert fit(x, y).slope * fit(y, x).slope == pytest.approx(1)


def test_deming_is_orthogonal_distance_regression() -> None:
    x, y = creatinine()
    found = odr.ODR(odr.RealData(x, y), odr.unilinear, beta0=[1, 0]).run()
    line = deming(x, y)
    assert (line.slope, line.intercept) == pytest.approx(tuple(found.beta), abs=1e-5)
    assert line.slope_high - line.slope == pytest.approx(
        1.98 * found.sd_beta[0], rel=0.6
    )  # the jackknife does not assume normality


def test_bland_altman_is_that_of_the_paper() -> None:
    """Peak flow of 17 subjects, first measurements: bias -2.1 l/min, deviation 38.8, limits (2 deviations) -79.7 and 75.5."""
    found = bland_altman(np.array(MINI, np.float64), np.array(WRIGHT, np.float64))
    assert found.bias == pytest.approx(-2.1, abs=0.05)
    deviation = (found.agreement_high - found.bias) / 1.96
    assert deviation == pytest.approx(38.8, abs=0.05)
    assert (found.bias - 2 * deviation, found.bias + 2 * deviation) == pytest.approx((-79.7, 75.5), abs=0.15)


def test_what_is_not_defined_is_no_number() -> None:
    one, three, same = np.array([5.0]), np.array([1.0, 2, 3]), np.full(3, 4.0)
    assert np.isnan([*passing_bablok(one, one), *deming(one, one)]).all()
    assert np.isnan([*passing_bablok(same, three), *deming(same, three), *deming(three, same)]).all()
    assert bland_altman(one, one + 2).bias == 2
    assert np.isnan(bland_altman(one, one).agreement_low)


def test_kappa_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    examiner = pd.Series(random.choice(list("abc"), 200))
    network = examiner.where(random.random(200) < 0.8, pd.Series(random.choice(list("abc"), 200)))
    found = kappa_by_class(examiner, network, [*"abcd"])
    for name in "abc":
        assert found[name] == pytest.approx(cohen_kappa_score(examiner == name, network == name))
    assert np.isnan(found["d"])


COUNTED = pd.DataFrame({"a": [50, 60, 90], "b": [50, 40, 10]}, index=["s1", "s2", "s3"])


def test_agreement_is_in_percent_of_the_cells_of_the_slides_that_both_have() -> None:
    reference = pd.DataFrame({"a": [90, 110, 9, 1], "b": [110, 90, 1, 1]}, index=["s1", "s2", "s3", "s4"])
    row = agree(COUNTED, reference).set_index("class").loc["a"]
    assert row["slides"] == 3
    assert row["bias"] == pytest.approx(((50 - 45) + (60 - 55) + (90 - 90)) / 3)
    x, y = np.array([45, 55, 90]), np.array([50, 60, 90])
    assert row["pearson"] == pytest.approx(np.corrcoef(x, y)[0, 1])
    lin = 2 * np.cov(x, y, ddof=0)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    assert row["lin"] == pytest.approx(lin)
    assert np.isnan(row["kappa"])


def write(text: str) -> Path:
    Path("reference.csv").write_text(text)
    return Path("reference.csv")


def test_reference_in_three_layouts() -> None:
    wide = read_reference(write("slide,b,a\ns1,1,2\ns2,,4\n"), ["a", "b", "c"]).counts
    expected = pd.DataFrame({"a": [2, 4], "b": [1, 0], "c": [0, 0]}, index=pd.Index(["s1", "s2"], name="slide"))
    pd.testing.assert_frame_equal(wide, expected)
    long = read_reference(write("slide,class,count\ns1,b,1\ns1,a,2\ns2,a,4\n"), ["a", "b", "c"]).counts
    pd.testing.assert_frame_equal(long, expected, check_names=False)
    slides = pd.Series({"1.png": "s1", "2.png": "s1", "3.png": "s1", "4.png": "s2"})
    cells = read_reference(write("path,label\n1.png,a\n2.png,b\n3.png,a\n9.png,c\n"), ["a", "b", "c"], slides)
    assert cells.counts.loc["s1"].tolist() == [2, 1, 0]
    assert cells.labels is not None
    assert cells.labels.to_dict() == {"1.png": "a", "2.png": "b", "3.png": "a"}


def test_two_examiners_are_added_up_and_told_apart() -> None:
    found = read_reference(write("observer,slide,a,b\nX,s1,40,60\nY,s1,50,50\nX,s2,10,90\nY,s2,10,90\n"), ["a", "b"])
    assert found.counts.loc["s1"].tolist() == [90, 110]
    assert found.observers["Y"].loc["s1"].tolist() == [50, 50]
    figure = agreement_figure(COUNTED, found.counts, found.observers)
    labels = [text.get_text() for axes in figure.axes for text in (axes.get_legend() or axes.legend()).get_texts()]
    assert "between the two examiners" in labels
    assert "bias +27.5" in labels  # of a: 50 against 45, and 60 against 10


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("smear,a,b\n1,2,3\n", "has no column slide; its columns are smear, a, b"),
        ("slide,a,x\ns,1,2\n", "has the classes x, which the network does not know; it knows a, b"),
        ("slide,a\ns,1.5\n", "'1.5' is no count"),
        ("slide,a\ns,-1\n", "'-1' is no count"),
        ("slide,a\ns,1\ns,2\n", "has the slide s twice"),
        ("observer,slide,a\nX,s,1\nY,s,1\nZ,s,1\n", "has 3 observers, X, Y, Z"),
        ("", "cannot be read"),
    ],
)
def test_references_that_do_not_fit(text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        read_reference(write(text), ["a", "b"])
    assert message in str(error.value)


def test_a_panel_per_slide() -> None:
    from bcc_lightning.differential.counting import differential

    figure = differential_figure(differential(COUNTED))
    assert [axes.get_title() for axes in figure.axes[:3]] == ["s1: 100 cells", "s2: 100 cells", "s3: 100 cells"]
