"""The sanity check: equal maps, known values, and a network that has forgotten everything."""

import numpy as np
import torch
from scipy.stats import spearmanr

from bcc_lightning.explanation.baselines import random
from bcc_lightning.explanation.maps import maps_of
from bcc_lightning.explanation.randomisation import randomised, rank_correlation, structural_similarity
from bcc_lightning.modules import EfficientSwin, PlainCNN
from tests.explanation.quadrant import dark_spots, quadrant


def test_equal_maps_are_alike() -> None:
    maps = random(dark_spots(3))
    np.testing.assert_allclose(rank_correlation(maps, maps), 1)
    np.testing.assert_allclose(structural_similarity(maps, maps), 1, rtol=1e-5)
    np.testing.assert_allclose(rank_correlation(maps, 1 - maps), -1)


def test_rank_correlation_is_scipys() -> None:
    first = np.round(random(dark_spots(5)), 1)  # with ties
    second = np.sqrt(first) + 0.5 * random(dark_spots(6))[1:]
    expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(rank_correlation(first, second), expected)


def test_a_map_of_one_value_correlates_with_nothing() -> None:
    np.testing.assert_array_equal(rank_correlation(np.zeros((1, 4, 4), np.float32), random(torch.zeros(1, 3, 4, 4))), [0])


def test_structural_similarity_of_plain_maps_by_hand() -> None:
    """Without contrast it is (2 a b + c) / (a a + b b + c) with c = 0.01 squared (Wang et al. 2004, equation 6)."""
    plain = [np.full((1, 16, 16), value, np.float32) for value in (0.2, 0.6)]
    np.testing.assert_allclose(structural_similarity(*plain), (2 * 0.12 + 1e-4) / (0.04 + 0.36 + 1e-4), rtol=1e-3)


def test_the_trained_network_stays_and_its_copy_forgets() -> None:
    module = quadrant()
    before = module.network.get_parameter("places").clone()
    forgotten = randomised(module, seed=1)
    assert torch.equal(module.network.get_parameter("places"), before)
    assert not torch.equal(forgotten.network.get_parameter("places"), before)  # it is in no layer that torch can initialise
    pixels, classes = module.prepare(dark_spots(8)), torch.ones(8, dtype=torch.int64)
    maps, others = (maps_of(one, pixels, classes, "hirescam") for one in (module, forgotten))
    assert np.abs(rank_correlation(maps, others)).mean() < 0.7 < np.abs(rank_correlation(maps, maps)).mean()
    assert structural_similarity(maps, others).mean() < 0.7


def test_the_seed_decides_and_the_generator_goes_on_as_before() -> None:
    module = PlainCNN(class_names=["a", "b"], image_size=32, pretrained=False)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, same, other = (dict(randomised(module, seed).network.named_parameters()) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    weights = [name for name, value in one.items() if value.ndim > 1]
    assert weights
    for name in weights:
        assert torch.equal(one[name], same[name])
        assert not torch.equal(one[name], other[name])


def test_all_weights_of_a_transformer_are_drawn_anew() -> None:
    torch.manual_seed(0)
    module = EfficientSwin(class_names=["a", "b"], image_size=64, pretrained=False)
    forgotten = dict(randomised(module, 0).network.named_parameters())
    kept = [name for name, value in module.network.named_parameters() if value.ndim > 1 and torch.equal(value, forgotten[name])]
    assert kept == []
