"""Colours brought to those of a reference: by the definitions of the two methods, and where they must change nothing."""

from typing import Any

import numpy as np
import pytest
import torch

from bcc_lightning import TransferClassifier
from bcc_lightning.architectures.stain_normalisation import (
    AMOUNTS,
    GROUND,
    LAB_MEAN,
    LAB_STD,
    STAINS,
    from_lab,
    normalise_stain,
    stains_of,
    to_lab,
)
from bcc_lightning.datasets.smear_painter import paint_cells
from bcc_lightning.errors import UserError

CELLS = torch.from_numpy(paint_cells(np.arange(8), 48, 0.2, 1)).permute(0, 3, 1, 2).float() / 255


def test_the_lab_space_is_reinhards() -> None:
    """White has the coordinates that follow from the rows of both matrices: the sum of the responses is nearly 1 each."""
    white = to_lab(torch.ones(1, 3, 1, 1)).flatten()
    responses = np.log10([0.9996, 0.9993, 0.9973])
    expected = [
        responses.sum() / 3**0.5,
        (responses[0] + responses[1] - 2 * responses[2]) / 6**0.5,
        (responses[0] - responses[1]) / 2**0.5,
    ]
    assert white.tolist() == pytest.approx(expected, abs=1e-4)
    assert torch.allclose(from_lab(to_lab(CELLS)), CELLS, atol=2e-3)


def test_reinhard_matches_mean_and_deviation() -> None:
    """Where nothing is clipped; clipping at white moves them slightly."""
    lab = to_lab(normalise_stain(CELLS * 0.3 + 0.4, "reinhard"))
    assert torch.allclose(lab.mean((2, 3)).mean(0), torch.tensor(LAB_MEAN), atol=0.05)
    assert torch.allclose(lab.std((2, 3)).mean(0), torch.tensor(LAB_STD), atol=0.05)


def test_the_same_cells_in_another_light_become_alike() -> None:
    tinted = (CELLS * torch.tensor([0.95, 0.8, 0.6])[:, None, None]).clamp(0, 1)
    before = (CELLS - tinted).abs().mean()
    for method in ("reinhard", "macenko"):
        after = (normalise_stain(CELLS, method) - normalise_stain(tinted, method)).abs().mean()  # type: ignore[arg-type]
        assert after < 0.4 * before


def mixture(stains: np.ndarray, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:  # type: ignore[type-arg]
    """Mix two stains, alone and together: the image (3, 40, 40) and the amounts (2, N)."""
    draw = np.random.default_rng(seed)
    amounts = draw.uniform(0.3, 1.2, (2, 1600))
    amounts[0, :300] = 0
    amounts[1, 300:600] = 0
    amounts[:, 600:900] = 0  # ground
    return torch.from_numpy(np.exp(-stains.T @ amounts)).float().reshape(3, 40, 40), amounts


def test_macenko_finds_the_stains_and_shows_them_in_the_reference_colours() -> None:
    own = np.array([[0.65, 0.70, 0.29], [0.27, 0.57, 0.78]])
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    image, amounts = mixture(own)
    density = -image.flatten(1).log().T
    assert stains_of(density[density.mean(1) > 0.1]).numpy() == pytest.approx(own, abs=0.03)
    found = normalise_stain(image[None], "macenko")[0].flatten(1).numpy()
    gain = np.array(AMOUNTS) / np.quantile(amounts, 0.99, axis=1)
    expected = np.array(GROUND)[:, None] * np.exp(-np.array(STAINS).T @ (amounts * np.minimum(gain, 3)[:, None]))
    assert np.abs(found - expected).mean() < 0.02


def test_images_without_stain_stay_as_they_are() -> None:
    for level in (0.0, 0.5, 1.0):
        flat = torch.full((1, 3, 16, 16), level)
        assert torch.isfinite(normalise_stain(flat, "reinhard")).all()
        assert torch.equal(normalise_stain(flat, "macenko"), flat)
    grey = CELLS.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    for method in ("reinhard", "macenko"):
        assert torch.isfinite(normalise_stain(grey, method)).all()  # type: ignore[arg-type]
    assert normalise_stain(CELLS, "as_is") is CELLS


def network(stain: Any) -> TransferClassifier:
    return TransferClassifier(class_names=["a", "b"], image_size=48, backbone="resnet18", pretrained=False, stain=stain).eval()


def test_a_network_normalises_what_it_is_given_and_its_checkpoint_knows() -> None:
    module = TransferClassifier(
        class_names=["a", "b"], image_size=48, backbone="resnet18", pretrained=False, stain="reinhard"
    ).eval()
    assert module.hparams["stain"] == "reinhard"
    pixels = (CELLS * 255).round().to(torch.uint8)
    plain = network("as_is")
    plain.load_state_dict(module.state_dict())
    normalised = (normalise_stain(pixels.float() / 255, "reinhard") * 255).round().to(torch.uint8)
    assert torch.allclose(module(pixels), plain(normalised), atol=0.05)
    with pytest.raises(UserError, match=r"--model\.stain"):
        network("vahadane")
