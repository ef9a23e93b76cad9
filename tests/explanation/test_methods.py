"""Each method finds the only place that counts; its maps are in [0, 1] and each image's own; names are checked."""

import numpy as np
import pytest
import torch

from bcc_lightning.errors import UserError
from bcc_lightning.explanation import choices
from bcc_lightning.explanation.maps import CHUNK, explain_images, maps_of
from bcc_lightning.explanation.masks import mass_inside
from bcc_lightning.explanation.methods import METHODS, method_named
from tests.explanation.quadrant import dark_spots, inside_quadrant, quadrant

ONE_SIGN = [name for name in METHODS if name != "eigencam"]  # whose sign is chance: its map may be the opposite


@pytest.mark.parametrize("method", ONE_SIGN)
def test_every_method_finds_the_quadrant(method: str) -> None:
    """A quarter of the image is all that counts; a map of 8 x 8 places that is enlarged smoothly spills over by half a place."""
    module, images = quadrant(), dark_spots(4)
    maps = maps_of(module, module.prepare(images), torch.ones(4, dtype=torch.int64), method)
    assert maps.shape == (4, 32, 32)
    assert maps.min() >= 0
    np.testing.assert_allclose(maps.max(axis=(1, 2)), 1)
    assert (mass_inside(maps, inside_quadrant(4)) > 0.85).all()


@pytest.mark.parametrize("method", METHODS)
def test_maps_do_not_depend_on_the_other_images(method: str) -> None:
    """More images than are explained at once."""
    module, images = quadrant(), dark_spots(CHUNK + 2)
    pixels, classes = module.prepare(images), torch.ones(CHUNK + 2, dtype=torch.int64)
    maps = maps_of(module, pixels, classes, method)
    np.testing.assert_allclose(maps_of(module, pixels[-1:], classes[-1:], method), maps[-1:], atol=1e-3)


def test_the_class_that_is_asked_for_is_explained() -> None:
    """Darkness in the quadrant speaks for one class and for nothing of the other."""
    module, images = quadrant(), dark_spots(2)
    dark, pale = (
        explain_images(module, images, torch.zeros(2, dtype=torch.int64), "hirescam", torch.full((2,), label)).combined
        for label in (1, 0)
    )
    assert dark.max() == 1
    assert pale.max() == 0


def test_a_module_is_left_as_it_was() -> None:
    module = quadrant().train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    for method in METHODS:
        maps_of(module, module.prepare(dark_spots(2)), torch.ones(2, dtype=torch.int64), method)
    assert module.training
    assert all(parameter.grad is None for parameter in module.parameters())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(UserError, match=r"--method gradcan does not exist; did you mean gradcam\? There are: gradcam,"):
        method_named("gradcan")


def test_the_names_that_can_be_chosen_are_those_of_the_methods() -> None:
    assert tuple(METHODS) == choices.METHODS
