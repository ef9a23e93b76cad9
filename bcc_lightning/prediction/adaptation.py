"""Adapting a trained network to unlabelled cells of another laboratory.

- ``scale``: images are enlarged or shrunk until nuclei are as large as in the training cells.
- ``bn``: batch normalisation takes mean and variance from these cells instead of the training cells, mixed with those of the
  training by the number of cells (Schneider et al., NeurIPS 2020).
- ``tent``: gain and offset of the normalisation layers are trained to give surer answers (Wang et al., ICLR 2021).
- ``prior``: probabilities are corrected for other shares of the classes than in training, which the EM algorithm estimates
  (Saerens, Latinne and Decaestecker, Neural Computation 14 (2002) 21).
- ``blood``: probabilities are corrected for the shares of the classes in the blood of healthy adults, without looking at cells.
- ``equal``: probabilities are corrected for classes that are all equally frequent, without looking at cells.

Nothing here is given a label of the cells.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bcc_lightning.datasets.nucleus import median_nucleus
from bcc_lightning.errors import UserError
from bcc_lightning.modules.assumed_shares import ASSUMES_BLOOD, Shares, blood_shares, log_odds, refuse_unknown
from bcc_lightning.modules.test_time_augmentation import zoomed
from bcc_lightning.prediction.choices import SHARES, Method
from bcc_lightning.prediction.class_shares import estimated_shares, reweighted
from bcc_lightning.prediction.classifier import PACKED_DIMENSIONS, Pixels, TrainedClassifier
from bcc_lightning.transforms.square import WAYS, lay

ASSUMED = {
    "blood": "the shares of the classes in the blood of healthy adults",
    "equal": "classes that are all equally frequent",
}
"""What methods that look at no cell correct probabilities for."""

PRIOR_CELLS = 16
"""Cells of the training that count beside those of the laboratory: a few cells alone have no reliable mean and variance."""

LARGEST_ZOOM = 2.0
"""Images are enlarged or shrunk at most so many times."""

FEW = 64
"""Fewer cells than this are looked at in all eight positions."""

TENT_LR = 1e-3
"""Learning rate of ``tent``, that of its authors."""

MOST = 2048
"""Most cells that are looked at."""

AT_ONCE = 64
"""Cells that the network sees at once while it is adapted."""

ENOUGH = 64
"""With fewer cells it depends on their draw whether a network becomes better or worse, see ``docs/laboratories.md``."""


@dataclass(frozen=True)
class Adaptation:
    """What a network was adapted to.

    Attributes:
        methods: in the order in which they were applied.
        cells: number of unlabelled cells that were looked at.
        zoom: factor by which images are enlarged; 1 without ``scale``.
        shares: share of each class among them, estimated by ``prior``, or assumed by ``blood`` or ``equal``; empty without them.
    """

    methods: tuple[Method, ...]
    cells: int
    zoom: float = 1.0
    shares: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        """Describe it in a sentence."""
        resized = "enlarged" if self.zoom >= 1 else "shrunk"
        scaled = f" Images are {resized} to {self.zoom:.2f} times their size." if "scale" in self.methods else ""
        few = " So few cells can make a network much worse." if self.cells < ENOUGH else ""
        looked = ", ".join(method for method in self.methods if method not in ASSUMED)
        adapted = [f"Adapted by {looked} to {self.cells:,} of these cells, without their labels.{scaled}{few}"] if looked else []
        assumed = [f"Probabilities are corrected for {ASSUMED[method]}." for method in self.methods if method in ASSUMED]
        return " ".join(adapted + assumed)


class AdaptedClassifier(TrainedClassifier):
    """A trained network that was adapted to another laboratory.

    Args:
        original: the network as it was trained; it is not changed.
        adaptation: what it is adapted to.
        module: the adapted network.
        odds: (C,) what the probability of each class is multiplied by; None leaves them.
    """

    def __init__(self, original: TrainedClassifier, adaptation: Adaptation, module: Any, odds: Shares | None) -> None:  # noqa: ANN401
        kept = {name: getattr(original, name) for name in ("side", "crop", "bits", "batch_size", "precision", "network", "field")}
        super().__init__(module, **kept)
        self.field_pixels = original.field_pixels
        self.original = original
        self.adaptation = adaptation
        self.odds = odds

    def images(self, pixels: Pixels) -> Tensor:
        """Bring images to the device, in the size of the training cells."""
        images = super().images(pixels)
        return images if self.adaptation.zoom == 1 else zoomed(images, self.adaptation.zoom)

    def classify(self, pixels: Pixels) -> Tensor:
        """Classify images, as `TrainedClassifier.classify`."""
        probability = super().classify(pixels)
        return probability if self.odds is None else reweighted(probability, self.odds)


def adapt(
    classifier: TrainedClassifier,
    pixels: Pixels,
    methods: Sequence[Method],
    trained_shares: Shares | None = None,
    trained_nucleus: float | None = None,
) -> AdaptedClassifier:
    """Adapt a network to a laboratory.

    Args:
        classifier: the network; it is not changed.
        pixels: (N, S, S, 3) uint8, cells of the laboratory from `TrainedClassifier.square`.
        methods: what is done, in the order of `METHODS`.
        trained_shares: (C,) mean probability of each class that the network gives to its validation set, needed for
            ``prior``, ``blood`` and ``equal``; a network that corrects its answers stores the shares for which they are right.
        trained_nucleus: median diameter of nuclei in the training cells, as a share of the side, needed for ``scale``.

    Raises:
        UserError: the network has no layers that a method changes, or what it needs is not known.
    """
    refuse_blood(classifier, methods)
    if not len(pixels):
        raise UserError("--adapt: there are no cells to adapt to")
    zoom = zoom_to(trained_nucleus, pixels) if "scale" in methods else 1.0
    adapted = AdaptedClassifier(classifier, Adaptation(tuple(methods), len(pixels), zoom), deepcopy(classifier.module), None)
    if "bn" in methods:
        adapt_statistics(adapted, pixels)
    if "tent" in methods:
        adapt_entropy(adapted, pixels)
    if not set(SHARES) & set(methods):
        return adapted
    assumed = classifier.module.assumed_shares
    trained_shares = trained_shares if assumed is None else assumed
    if trained_shares is None:
        raise UserError(
            f"--adapt {methods[-1]} needs the answers of the network for its validation set, which are not filed; name a run "
            "with --run"
        )
    if "blood" in methods:
        shares = blood_shares(classifier.class_names, trained_shares)
    elif "equal" in methods:
        shares = np.full(len(trained_shares), 1 / len(trained_shares))
    else:
        probability = torch.cat([adapted.classify(part) for part in parts_of(pixels)]).double().numpy()
        shares = estimated_shares(probability, trained_shares)
    adapted.odds = shares / np.maximum(trained_shares, np.finfo(np.float64).tiny)
    named = dict(zip(classifier.class_names, shares.tolist(), strict=True))
    adapted.adaptation = replace(adapted.adaptation, shares=named)
    return adapted


def refuse_blood(classifier: TrainedClassifier, methods: Sequence[Method]) -> None:
    """Refuse ``blood`` for a network that assumes its shares already, or whose classes have none, before a cell is looked at.

    Raises:
        UserError: it cannot be corrected by ``blood``.
    """
    if "blood" not in methods:
        return
    if classifier.module.assumed_shares is not None:
        raise UserError("--adapt blood: this network assumes the shares of the classes in blood already; leave blood out")
    refuse_unknown(classifier.class_names, "--adapt blood", "leave blood out")


def assumptions(classifier: TrainedClassifier, methods: Sequence[Method]) -> list[str]:
    """Describe what a network assumes of cells that it classifies, unless one of the methods replaces it."""
    corrects = classifier.module.assumed_shares is not None and not set(SHARES) & set(methods)
    return [ASSUMES_BLOOD] if corrects else []


def zoom_to(trained: float | None, pixels: Pixels) -> float:
    """Return the factor by which cells are to be enlarged so that their nuclei are as large as those of the training cells.

    Raises:
        UserError: it is not known how large these are, or cells come at several sizes.
    """
    if trained is None:
        raise UserError(
            "--adapt scale needs the size of nuclei in the training cells, which is not known: this run has not recorded it, and "
            "its data are not here; leave scale out"
        )
    if pixels.ndim == PACKED_DIMENSIONS:
        raise UserError("--adapt scale: the members of this ensemble see cells at several sizes; adapt them one by one")
    return float(np.clip(trained / max(median_nucleus(pixels), 1e-6), 1 / LARGEST_ZOOM, LARGEST_ZOOM))


def parts_of(pixels: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """Yield so many cells as a network sees at once."""
    return (pixels[start : start + AT_ONCE] for start in range(0, len(pixels), AT_ONCE))


def adapt_statistics(adapted: AdaptedClassifier, pixels: Pixels) -> None:
    """Let batch normalisation take its statistics from cells, in place.

    Raises:
        UserError: the network has no batch normalisation.
    """
    layers = [layer for layer in adapted.module.modules() if isinstance(layer, _BatchNorm) and layer.running_mean is not None]
    if not layers:
        raise UserError(
            f"--adapt bn: {type(adapted.module).__name__} has no batch normalisation, so that there are no statistics to take "
            "from other cells; leave bn out"
        )
    with ExitStack() as stack, torch.inference_mode():
        for layer in layers:
            stack.enter_context(following(layer, PRIOR_CELLS * views(len(pixels))))
        for part in parts_of(pixels):
            for images in views_of(adapted, part, len(pixels)):
                adapted.module(images)


@contextmanager
def following(layer: _BatchNorm, prior: int) -> Iterator[None]:
    """Let a layer's statistics follow what it is given: the mean over all cells so far, mixed with those of the training.

    Images count equally, whatever the sizes of the batches.

    Args:
        layer: the layer.
        prior: images that the training counts for.
    """
    assert layer.running_mean is not None  # noqa: S101 - tells the type checker what the caller has checked
    assert layer.running_var is not None  # noqa: S101
    mean, variance = layer.running_mean.double(), layer.running_var.double()
    sums, squares, cells = torch.zeros_like(mean), torch.zeros_like(mean), 0

    def look(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        """Add a batch, before the layer uses its statistics."""
        nonlocal cells
        values = given[0].double().transpose(0, 1).flatten(1)
        sums.add_(values.mean(1) * len(given[0]))
        squares.add_(values.square().mean(1) * len(given[0]))
        cells += len(given[0])
        weight = cells / (cells + prior)
        own_mean = sums / cells
        own_variance = squares / cells - own_mean**2
        layer.running_mean.copy_(torch.lerp(mean, own_mean, weight))  # type: ignore[union-attr]
        layer.running_var.copy_(torch.lerp(variance, own_variance, weight).clamp_min(0))  # type: ignore[union-attr]

    hook = layer.register_forward_pre_hook(look)
    try:
        yield
    finally:
        hook.remove()


def adapt_entropy(adapted: AdaptedClassifier, pixels: Pixels) -> None:
    """Train gain and offset of the normalisation layers to lower the entropy of the answers, in place, each cell once.

    Raises:
        UserError: the network has no such layers.
    """
    kinds = (_BatchNorm, nn.LayerNorm, nn.GroupNorm)
    layers = [layer for layer in adapted.module.modules() if isinstance(layer, kinds)]
    affine = list(dict.fromkeys(parameter for layer in layers for parameter in layer.parameters(recurse=False)))
    if not affine:
        raise UserError(f"--adapt tent: {type(adapted.module).__name__} has no normalisation layers to train; leave tent out")
    adapted.module.requires_grad_(False)
    for parameter in affine:
        parameter.requires_grad_(True)
    optimizer = torch.optim.Adam(affine, lr=TENT_LR)
    order = np.random.default_rng(0).permutation(len(pixels))
    for rows in parts_of(order):
        for images in views_of(adapted, pixels[rows], len(pixels)):
            # The network's own answers: surer ones after a correction would be surer of what is frequent in blood.
            answers = (adapted.module(images) - log_odds(adapted.module.network)).log_softmax(dim=1)
            entropy = -(answers.exp() * answers).sum(dim=1).mean()
            optimizer.zero_grad()
            entropy.backward()
            optimizer.step()
    adapted.module.requires_grad_(False)


def views_of(adapted: AdaptedClassifier, pixels: Pixels, cells: int) -> Iterator[Tensor]:
    """Yield batches of images (B, 3, S, S) uint8 in which a network is adapted; `cells` is how many there are in all.

    Raises:
        UserError: members of an ensemble see cells at several sides.
    """
    if len(adapted.sides) > 1:
        raise UserError("--adapt bn and tent: the members of this ensemble see cells at several sizes; adapt them one by one")
    images = adapted.images(pixels)
    for way in range(views(cells)):
        yield lay(images, way)


def views(cells: int) -> int:
    """Return in how many positions each of so many cells is looked at."""
    return WAYS if cells < FEW else 1
