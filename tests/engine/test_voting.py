"""Fitted weights on cases that can be solved by hand, and against another method."""

import numpy as np
import pytest

from bcc_lightning.engine.voting import fit_shares, negative_log_likelihood


def test_two_members_that_are_right_on_different_cells() -> None:
    """The likelihood is w^3 (1 - w): 3/w = 1/(1 - w) at w = 3/4."""
    votes = np.array([[1.0, 0.0]] * 3 + [[0.0, 1.0]])
    np.testing.assert_allclose(fit_shares(votes), [0.75, 0.25], atol=1e-5)


def test_three_members_that_are_right_on_different_cells() -> None:
    """The likelihood is that of a multinomial distribution: the weights are the shares of the cells, 5, 3 and 2 of 10."""
    votes = np.repeat(np.eye(3), [5, 3, 2], axis=0)
    np.testing.assert_allclose(fit_shares(votes), [0.5, 0.3, 0.2], atol=1e-5)


def test_two_members_with_probabilities_in_between() -> None:
    """Two kinds of cells, as many of each: p = 0.2 + 0.6 w and q = 0.6 - 0.2 w; log p + log q has its maximum where
    0.6 / (0.2 + 0.6 w) = 0.2 / (0.6 - 0.2 w), so 0.36 - 0.12 w = 0.04 + 0.12 w and w = 4/3, outside: the first member alone.
    With q = 0.6 - 0.5 w: 0.36 - 0.3 w = 0.1 + 0.3 w and w = 13/30."""
    np.testing.assert_allclose(fit_shares(np.array([[0.8, 0.2], [0.4, 0.6]])), [1, 0], atol=1e-5)
    np.testing.assert_allclose(fit_shares(np.array([[0.8, 0.2], [0.1, 0.6]])), [13 / 30, 17 / 30], atol=1e-5)


def test_member_that_is_better_on_each_cell_gets_all() -> None:
    better = np.random.default_rng(0).uniform(0.5, 1, 50)
    np.testing.assert_allclose(fit_shares(np.stack([better - 0.3, better], axis=1)), [0, 1], atol=1e-6)


def test_equal_members_share_equally() -> None:
    vote = np.random.default_rng(0).uniform(0.1, 1, (50, 1))
    np.testing.assert_allclose(fit_shares(np.repeat(vote, 4, axis=1)), [0.25] * 4)


def test_cells_that_all_members_call_impossible() -> None:
    """Their probability is 0 in float32; they say nothing about the weights, and the logarithm stays finite."""
    votes = np.array([[1.0, 0.0]] * 3 + [[0.0, 1.0]] + [[0.0, 0.0]] * 5)
    np.testing.assert_allclose(fit_shares(votes), [0.75, 0.25], atol=1e-5)


@pytest.mark.parametrize("seed", range(12))
def test_as_good_as_expectation_maximisation(seed: int) -> None:
    """EM for the weights of a mixture, w <- mean(w p / sum(w p)), climbs to the same maximum, only slowly."""
    generator = np.random.default_rng(seed)
    votes = generator.beta(*generator.uniform(0.2, 5, 2), (400, int(generator.integers(2, 7)))) + 1e-9
    weights = np.full(votes.shape[1], 1 / votes.shape[1])
    for _ in range(4000):
        joint = votes * weights
        weights = (joint / joint.sum(axis=1, keepdims=True)).mean(axis=0)
    found = fit_shares(votes)
    assert found.min() >= 0
    assert found.sum() == pytest.approx(1)
    assert negative_log_likelihood(found, votes)[0] <= negative_log_likelihood(weights, votes)[0] + 1e-6


def test_gradient_is_the_slope() -> None:
    generator = np.random.default_rng(0)
    votes, shares = generator.uniform(0.01, 1, (30, 3)), np.array([0.2, 0.5, 0.3])
    _, gradient = negative_log_likelihood(shares, votes)
    for member in range(3):
        step = 1e-6 * np.eye(3)[member]
        slope = (negative_log_likelihood(shares + step, votes)[0] - negative_log_likelihood(shares - step, votes)[0]) / 2e-6
        assert gradient[member] == pytest.approx(slope, rel=1e-5)
