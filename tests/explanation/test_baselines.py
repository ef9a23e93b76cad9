"""Baselines by hand."""

import numpy as np
import torch

from bcc_lightning.explanation.baselines import centre, edges, random
from bcc_lightning.explanation.masks import mass_inside
from tests.explanation.quadrant import dark_spots, inside_quadrant


def test_centre_is_a_gaussian_of_a_quarter_of_the_side() -> None:
    """Four pixels stand at -3/8, -1/8, 1/8 and 3/8 of the side: 1.5 and 0.5 standard deviations from the middle."""
    (found,) = centre(torch.zeros(1, 3, 4, 4))
    outer = np.exp(-0.5 * 1.5**2) / np.exp(-0.5 * 0.5**2)
    line = np.array([outer, 1, 1, outer])
    np.testing.assert_allclose(found, np.outer(line, line), rtol=1e-6)


def test_edges_are_where_the_image_changes() -> None:
    """A step between the columns 3 and 4 is seen by both, and by no other."""
    images = torch.zeros(1, 3, 8, 8)
    images[..., 4:] = 1
    expected = np.zeros((8, 8))
    expected[:, 3:5] = 1
    np.testing.assert_array_equal(edges(images)[0], expected)


def test_random_pixels_have_the_mass_of_the_area() -> None:
    maps = random(dark_spots(50))
    assert abs(mass_inside(maps, inside_quadrant(50)).mean() - 0.25) < 0.005
    assert not np.array_equal(maps[0], maps[1])
