"""Regressions and limits of agreement against the published results of other programs."""

import warnings

import numpy as np
import pytest
from scipy import stats

from bcc_lightning.differential.method_comparison import (
    bland_altman,
    concordance,
    correlation,
    deming,
    passing_bablok,
)


def pairs(reference: str, method: str) -> np.ndarray:
    """(2, N) values that are written as text."""
    return np.array([[float(value) for value in text.split()] for text in (reference, method)])


# Creatinine of 110 patients in serum and plasma, mg/dL, as in R's package mcr (``data/creatinine.RData``); two lack a value.
CREATININE = pairs(
    """
0.82 1.83 1.39 0.81 1.72 3.23 1.23 1.37 1.72 0.96 0.76 1.15 0.95 1.0 1.52 1.56 2.45 1.85 0.89 0.82 1.01 0.96
3.38 1.31 1.1 1.26 1.15 1.2 1.01 1.33 0.87 1.66 1.41 1.08 1.17 1.77 1.33 1.23 1.21 1.2 1.49 0.89 1.09 1.03 1.07
0.89 1.39 0.96 1.06 1.17 0.9 1.39 0.91 2.28 0.9 1.34 1.32 1.02 1.04 1.27 1.08 1.1 1.39 1.07 0.79 1.02 0.94 1.99
0.7 0.84 0.66 1.1 0.9 2.06 1.31 1.03 1.61 1.52 1.11 0.85 1.2 1.09 1.27 2.06 1.21 0.77 1.06 1.02 1.0 1.47 0.97
1.7 1.78 0.93 0.92 1.59 0.68 0.7 1.08 0.83 1.17 0.98 0.77 0.91 1.1 0.8 0.85 0.82
""",
    """
0.79 1.62 1.36 1.3 1.88 3.35 1.06 1.34 1.56 0.94 0.69 1.16 0.71 0.83 1.44 1.26 2.36 1.9 0.95 0.77 0.82 0.88 3.42
1.15 0.96 1.12 1.02 1.29 0.87 1.13 0.82 1.33 1.14 0.93 1.09 1.89 1.57 1.29 1.13 1.11 1.61 0.79 1.19 0.96 1.25
0.87 1.36 0.86 1.03 0.86 0.8 1.22 0.86 2.25 0.87 1.3 1.04 0.92 1.01 1.21 1.11 1.21 1.54 0.99 0.79 1.06 1.02 2.15
0.56 1.01 0.59 1.17 0.82 2.09 1.44 1.22 1.77 1.6 1.13 1.06 1.38 1.24 1.29 2.08 1.31 0.82 1.28 1.15 1.04 1.51
1.13 1.84 1.94 1.32 1.36 1.88 0.73 0.78 1.01 0.9 1.3 0.96 0.61 1.27 1.05 1.12 0.72 0.87
""",
)

# Test case AnaIT.TD15 of mcr 1.3.3 (``inst/unitTests/TestCaseCollection``): 50 pairs.
TD15 = pairs(
    """
18.654599109456 17.0610823229594 37.8076135618173 51.1413961380522 103.985667589592 34.8605133072495 35.1146708951621
16.005996343635 68.5890100912778 62.1699013684068 18.1641040703209 94.2563842860796 31.67278631354 18.8059773112482
67.9347403613216 18.260239156489 87.1550332248675 98.5843421029197 20.3747255514258 4.20199417418543 27.7662087802102
16.6797331091928 52.3335230459024 1.25970439645986 2.55285163008995 71.1422300479687 99.342890258164 40.6747911609727
82.5924169862313 64.7062991090824 1.46968233573658 83.5389530283147 19.8368624090347 44.339918470983 19.2879672940529
86.5484515948081 79.8461255550168 66.1164680506251 32.8785828616434 85.634465208222 15.772867025856 102.866851788539
16.4442973704484 23.0916021823352 83.3011761592876 9.47357732139885 15.4574423263928 67.0394769874472 32.7239965276836
71.7361088013058
""",
    """
15.9116325401596 17.9423397346645 58.1755698848695 49.0779434653576 113.758268975683 35.5525894416901 39.4088027819502
15.0167183931276 65.8450151148211 62.6667874119841 15.8020862675435 83.9418317622942 33.5524291118479 18.5775089262923
73.872592767028 21.600509295785 93.4269960011703 89.8278248717022 20.130360709819 4.94910345310486 23.1566064984898
17.336339530418 56.2280624424048 1.70969794990576 3.40128933880261 87.5197563754811 67.3466761237754 35.6882873995953
90.4041198524321 62.2603160684644 1.52718831259026 84.5412183739216 19.0003036715583 51.0624306952549 12.0291575952956
55.3970074896586 96.7628055558332 69.6940969840453 29.1380990869214 85.4597993067675 18.1508502210932 92.1385811560549
17.012175857013 23.0242126162252 95.7510267835212 8.70125548126123 13.4955271740672 45.8284262464427 31.1175741976669
69.5490311988868
""",
)

# Peak expiratory flow of 17 people in l/min, first readings: mini Wright meter and Wright meter; Bland and Altman, Lancet 1986.
MINI = np.array([512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451], float)
WRIGHT = np.array([494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427], float)


def test_passing_bablok_with_many_ties_is_that_of_calanas() -> None:
    # Results of the program Calanas, in mcr's ``runit.mcPaBa.R``.
    line = passing_bablok(*CREATININE)
    assert line.slope == pytest.approx((1.08800890272179, 1, 1.17300462437155), abs=1e-12)
    assert line.intercept == pytest.approx((-0.11717286443298, -0.20011494807756, -0.0200000000000013), abs=1e-12)


def test_passing_bablok_without_ties_is_that_of_calanas() -> None:
    line = passing_bablok(*TD15)
    assert line.slope == pytest.approx((1.02058852149448, 0.95848878631593, 1.09232009780764), abs=1e-12)
    assert line.intercept == pytest.approx((-0.639752984809869, -2.3330808182894, 0.840973102642057), abs=1e-11)


def test_passing_bablok_of_sens_data_is_the_line_of_rs_deming_with_the_ranks_of_mcr() -> None:
    # ``tests/pbtest.Rout.save`` of R's package deming: slope 4, intercept 6, 93 % limits of the slope 26/7 and 35/8: the slopes
    # of rank 4 and 18 of 21. By the rule of mcr they are those of rank 5 and 17: 15/4 and 46/11.
    line = passing_bablok(np.array([1.0, 2, 3, 4, 10, 12, 18]), np.array([9.0, 15, 19, 20, 45, 55, 78]), 0.93)
    assert line.slope == pytest.approx((4, 15 / 4, 46 / 11))
    assert line.intercept.value == pytest.approx(6)


@pytest.mark.parametrize(
    ("ratio", "slope", "intercept"),
    [
        (
            1.0,
            (0.998922574014433, 0.904225546852836, 1.09361960117603),
            (-0.505729735057073, -3.06557290114323, 2.05411343102908),
        ),
        (
            1.21,
            (1.00329228321811, 0.909809514645456, 1.09677505179076),
            (-0.708594035342613, -3.2419770759952, 1.82478900530997),
        ),
    ],
)
def test_deming_with_its_jackknife_is_that_of_analyse_it(
    ratio: float, slope: tuple[float, ...], intercept: tuple[float, ...]
) -> None:
    # Results of the program Analyse-it, in the test case.
    line = deming(*TD15, ratio)
    assert line.slope == pytest.approx(slope, rel=1e-6)
    assert line.intercept == pytest.approx(intercept, rel=1e-6)


def test_deming_of_creatinine_is_that_of_mcr() -> None:
    line = deming(*CREATININE)  # ``runit.mcDeming.R``
    assert line.slope.value == pytest.approx(1.054539, abs=1e-6)
    assert line.intercept.value == pytest.approx(-0.05891341, abs=1e-7)


@pytest.mark.parametrize("ratio", [0.25, 1.0, 4.0])
def test_deming_is_orthogonal_distance_regression_for_a_known_error_ratio(ratio: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from scipy.odr import ODR, Model, RealData
    model = Model(lambda parameters, x: parameters[0] * x + parameters[1])
    data = RealData(*TD15, sx=np.sqrt(ratio), sy=1.0)
    expected = ODR(data, model, beta0=[1.0, 0.0], sstol=1e-14, partol=1e-14).run().beta
    line = deming(*TD15, ratio)
    assert (line.slope.value, line.intercept.value) == pytest.approx(tuple(expected), rel=1e-4, abs=5e-4)


def test_limits_of_agreement_of_the_peak_flow_meters() -> None:
    # Published: bias -2.1 (-22.0 to 17.8) l/min, deviation 38.8; with 1.96 instead of the paper's 2: -78.1 and 73.9.
    found = bland_altman(MINI, WRIGHT)
    assert found.bias == pytest.approx((-2.1, -22.0, 17.8), abs=0.05)
    assert found.lower.value == pytest.approx(-2.118 - 1.96 * 38.765, abs=0.01)
    assert found.upper.value == pytest.approx(-2.118 + 1.96 * 38.765, abs=0.01)
    # Published: standard error of the limits 16.3 by the root of 3 s^2 / n, and t = 2.12; hence 34.5 to either side.
    for limit in (found.lower, found.upper):
        assert limit.value - limit.low == pytest.approx(34.5, abs=0.1)
        assert limit.high - limit.value == pytest.approx(34.5, abs=0.1)


def test_concordance_by_hand() -> None:
    reference, method = np.array([1.0, 2, 3]), np.array([2.0, 4, 6])  # variances 2/3 and 8/3, covariance 4/3, means 2 and 4
    assert concordance(reference, method) == pytest.approx(2 * 4 / 3 / (2 / 3 + 8 / 3 + 4))
    assert concordance(reference, reference) == pytest.approx(1)


def test_few_or_constant_values_give_no_line() -> None:
    constant, rising = np.full(6, 0.3), np.linspace(0.1, 0.6, 6)
    for reference, method in ((rising[:2], rising[:2]), (constant, rising), (rising, constant), (rising, rising[::-1])):
        assert np.isnan(passing_bablok(reference, method).slope).all()
    for reference, method in ((rising[:2], rising[:2]), (constant, rising), (rising, constant)):
        assert np.isnan(deming(reference, method).slope).all()
    assert np.isnan(correlation(stats.pearsonr, rising, constant))
    assert np.isnan(concordance(rising[:1], rising[:1]))
    one = bland_altman(np.array([0.5]), np.array([0.6]))
    assert one.bias.value == pytest.approx(0.1)
    assert np.isnan([one.bias.low, *one.lower, *one.upper]).all()


def test_limits_that_need_more_pairs_are_left_out() -> None:
    line = passing_bablok(np.array([1.0, 2, 3]), np.array([1.1, 2.0, 3.2]))
    assert line.slope.value == pytest.approx(np.tan(np.arctan(1.05)))  # slopes 0.9, 1.05, 1.2
    assert np.isnan([line.slope.low, line.slope.high, line.intercept.low, line.intercept.high]).all()


def test_identical_values_give_the_identity() -> None:
    values = np.array([0.1, 0.2, 0.2, 0.5, 0.7])
    for line in (passing_bablok(values, values), deming(values, values)):
        assert line.slope.value == pytest.approx(1)
        assert line.intercept.value == pytest.approx(0, abs=1e-12)
