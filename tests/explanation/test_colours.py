"""Colours of maps: each step lighter than the one before; a blank map leaves the cell; a peak hides nothing."""

import cv2
import numpy as np

from bcc_lightning.explanation.colours import coloured, legend, overlaid, without_peaks


def test_the_scale_is_perceptually_uniform() -> None:
    """The lightness of CIELAB rises in equal steps; that of turbo or hot does not."""
    lightness = cv2.cvtColor(coloured(np.linspace(0, 1, 256, dtype=np.float32))[None], cv2.COLOR_RGB2Lab)[0, :, 0]
    steps = np.diff(lightness)
    assert (steps > 0).all()
    assert steps.max() < 2.5 * steps.mean()


def test_the_legend_runs_from_the_smallest_to_the_largest_value() -> None:
    scale = legend(256, 3)
    assert scale.shape == (3, 256, 3)
    np.testing.assert_allclose(scale[1, [0, -1]], coloured(np.array([0, 1], np.float32)))


def test_a_blank_map_leaves_the_cell_grey_and_a_full_one_colours_it() -> None:
    image = np.random.default_rng(0).random((20, 20, 3)).astype(np.float32)
    grey = image.mean(axis=2, keepdims=True).repeat(3, axis=2)
    np.testing.assert_allclose(overlaid(image, np.zeros((5, 5), np.float32)), grey, rtol=1e-6)
    full = overlaid(image, np.ones((5, 5), np.float32))
    np.testing.assert_allclose(full, 0.25 * grey + 0.75 * coloured(np.ones(1, np.float32)), rtol=1e-5)


def test_one_bright_pixel_does_not_darken_the_others() -> None:
    values = np.full((10, 10), 0.1, np.float32)
    values[0, 0] = 1
    np.testing.assert_allclose(without_peaks(values)[5], 1, atol=0.1)
    np.testing.assert_array_equal(without_peaks(np.zeros((4, 4), np.float32)), 0)
