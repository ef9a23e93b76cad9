"""Class activation maps and saliency of single cells, as arrays and as a contact sheet."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bcc_lightning.architectures.cam_target import CamTarget
from bcc_lightning.evaluation.metrics import Predictions
from bcc_lightning.modules.base import CellClassifier
from bcc_lightning.printable import shortened

Maps = npt.NDArray[np.float32]

CHUNK = 8
"""Number of images explained at once: gradients of a whole sheet at 224 pixels would not fit into small devices."""


@dataclass(frozen=True)
class Explanations:
    """Maps of N images with sides of S pixels.

    Attributes:
        pixels: (N, S, S, 3) float32 in [0, 1], the network's input before normalisation.
        branches: name of each branch to its Grad-CAM maps (N, S, S) float32 in [0, 1], for the predicted class.
        saliency: (N, S, S) float32 in [0, 1], how much the loss of the true class changes with each pixel.
    """

    pixels: Maps
    branches: dict[str, Maps]
    saliency: Maps

    @property
    def combined(self) -> Maps:
        """Mean of the branches' maps, then scaled to a maximum of 1: (N, S, S)."""
        return stretch(np.mean(list(self.branches.values()), axis=0))


def explain_images(module: CellClassifier, images: Tensor, labels: Tensor) -> Explanations:
    """Explain images.

    Args:
        module: a trained module.
        images: (N, 3, H, W) uint8.
        labels: (N,) int64, true classes.
    """
    parts = [explain_chunk(module, i, t) for i, t in zip(torch.split(images, CHUNK), torch.split(labels, CHUNK), strict=True)]
    return Explanations(
        np.concatenate([part.pixels for part in parts]),
        {name: np.concatenate([part.branches[name] for part in parts]) for name in parts[0].branches},
        np.concatenate([part.saliency for part in parts]),
    )


def explain_chunk(module: CellClassifier, images: Tensor, labels: Tensor) -> Explanations:
    """Explain a few images at once; arguments as `explain_images`."""
    with gradients_on(module):
        pixels = module.prepare(images.to(module.device)).clone()
        predicted = module.network(pixels).argmax(dim=1)
        branches = {target.name: grad_cam(module.network, target, pixels, predicted) for target in module.cam_targets()}
        saliency = vanilla_gradient(module.network, pixels, labels.to(module.device).clone())
    return Explanations(pixels.detach().permute(0, 2, 3, 1).cpu().numpy(), branches, saliency)


def grad_cam(network: nn.Module, target: CamTarget, pixels: Tensor, classes: Tensor) -> Maps:
    """Compute Grad-CAM maps.

    Args:
        network: network in evaluation mode, gradients enabled.
        target: the layer to read.
        pixels: (N, 3, S, S) float32 in [0, 1].
        classes: (N,) int64, the class to explain for each image.

    Returns:
        (N, S, S) float32 in [0, 1], each map scaled to a maximum of 1.
    """
    cam = GradCAM(network, [target.layer], reshape_transform=target.as_nchw)
    try:
        # A fully frozen network computes no gradient unless its input requires one.
        maps = cam(pixels.detach().requires_grad_(), [ClassifierOutputTarget(int(c)) for c in classes])
    finally:
        cam.activations_and_grads.release()
    return stretch(np.asarray(maps, np.float32))


def vanilla_gradient(network: nn.Module, pixels: Tensor, labels: Tensor) -> Maps:
    """Compute how much the cross-entropy of each image's true class changes with its pixels.

    Args:
        network: network in evaluation mode, gradients enabled.
        pixels: (N, 3, S, S) float32 in [0, 1].
        labels: (N,) int64.

    Returns:
        (N, S, S) float32 in [0, 1]: largest absolute gradient over the channels, each map scaled to a maximum of 1.
    """
    pixels = pixels.detach().requires_grad_()
    loss = cross_entropy(network(pixels), labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, pixels)
    return stretch(gradient.abs().amax(dim=1).float().cpu().numpy())


def stretch(maps: Maps) -> Maps:
    """Scale each map (N, S, S) so that its largest value is 1; an all-zero map is unchanged."""
    largest = maps.max(axis=(1, 2), keepdims=True)
    stretched: Maps = np.divide(maps, largest, out=np.zeros_like(maps, dtype=np.float32), where=largest > 0)
    return stretched


@contextmanager
def gradients_on(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode with gradients enabled; afterwards restore it and clear its gradients."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        module.zero_grad(set_to_none=True)
        for part in training:
            part.training = True


PANEL = 96
GAP = 6
GROUP_GAP = 26
CAPTION = 26
"""In pixels: side of a panel, gap between panels, gap between cells, height of the line above each cell."""

MANY = 12
"""With more rows, panels are not enlarged in the figure."""

LONGEST_NAME = 28
"""Longest class name in a line, in characters; a line has two names."""

RIGHT, WRONG = "#1b5e20", "#b71c1c"


def choose_cells(predictions: Predictions, num_classes: int, per_class: int) -> list[int]:
    """Choose cells of each class: the most confident mistake, if there is one, then correctly classified ones in order.

    Returns:
        Rows of `predictions`, class by class.
    """
    rows: list[int] = []
    confidence = predictions.probability.amax(dim=1)
    right = predictions.predicted == predictions.label
    for number in range(num_classes):
        members = torch.nonzero(predictions.label == number).flatten()
        wrong = members[~right[members]]
        mistakes = wrong[confidence[wrong].argsort(descending=True)].tolist()
        correct = members[right[members]].tolist()
        rows += (mistakes[:1] + correct + mistakes[1:])[:per_class]
    return rows


def contact_sheet(explanations: Explanations, labels: Tensor, probability: Tensor, class_names: list[str]) -> Figure:
    """Draw the contact sheet: one row per class, several cells side by side.

    Args:
        explanations: maps of N cells.
        labels: (N,) int64, true classes, ascending.
        probability: (N, C), rows sum to 1.
        class_names: names of the C classes.
    """
    names = shortened(class_names, LONGEST_NAME)
    strips = [strip(explanations, i) for i in range(len(labels))]
    titles = [*["cell"], *explanations.branches, *(["combined"] if len(explanations.branches) > 1 else []), "overlay", "saliency"]
    places = grid_places(labels.tolist())
    height, width = CAPTION + PANEL, strips[0].shape[1] + GROUP_GAP
    rows, columns = 1 + max(r for r, _ in places), 1 + max(c for _, c in places)
    sheet = np.ones((rows * height + CAPTION, columns * width, 3), np.float32)
    figure = Figure(figsize=(sheet.shape[1] / 100, sheet.shape[0] / 100), dpi=140 if rows <= MANY else 100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    for i, (row, column) in enumerate(places):
        top, left = CAPTION + row * height + CAPTION, column * width + GROUP_GAP // 2
        sheet[top : top + PANEL, left : left + strips[i].shape[1]] = strips[i]
        predicted = int(probability[i].argmax())
        right = predicted == int(labels[i])
        caption = f"{names[int(labels[i])]} → {names[predicted]} {100 * probability[i, predicted]:.0f} %"
        axes.text(left, top - 5, caption, fontsize=7.5, color=RIGHT if right else WRONG, weight="normal" if right else "bold")
        if row == 0:
            for place, title in enumerate(titles):
                axes.text(left + place * (PANEL + GAP) + PANEL / 2, CAPTION - 8, title, fontsize=7, color="#555555", ha="center")
    axes.imshow(sheet, interpolation="nearest", aspect="auto")
    return figure


def grid_places(labels: list[int]) -> list[tuple[int, int]]:
    """Return row and column of each cell; every class that occurs has one row."""
    rows = {label: row for row, label in enumerate(dict.fromkeys(labels))}
    return [(rows[label], labels[:i].count(label)) for i, label in enumerate(labels)]


def strip(explanations: Explanations, i: int) -> npt.NDArray[np.float32]:
    """Join the panels of one cell side by side: (PANEL, W, 3) float32 in [0, 1]."""
    image = cv2.resize(explanations.pixels[i], (PANEL, PANEL), interpolation=cv2.INTER_NEAREST)
    maps = [maps[i] for maps in explanations.branches.values()]
    combined = explanations.combined[i]
    if len(maps) > 1:
        maps.append(combined)
    heat = [colour(m, "turbo") for m in maps]
    strength = 0.6 * enlarge(combined)[..., None]
    overlay = (1 - strength) * image + strength * colour(combined, "turbo")
    panels = [image, *heat, overlay, colour(explanations.saliency[i], "hot")]
    gap = np.ones((PANEL, GAP, 3), np.float32)
    return np.hstack([part for panel in panels for part in (panel, gap)][:-1]).astype(np.float32)


def colour(values: Maps, name: str) -> npt.NDArray[np.float32]:
    """Colour one map (S, S) in [0, 1]: (PANEL, PANEL, 3) float32."""
    return np.asarray(matplotlib.colormaps[name](enlarge(values))[..., :3], np.float32)


def enlarge(values: Maps) -> Maps:
    """Enlarge one map (S, S) to a panel."""
    return np.asarray(cv2.resize(values, (PANEL, PANEL), interpolation=cv2.INTER_LINEAR), np.float32)
