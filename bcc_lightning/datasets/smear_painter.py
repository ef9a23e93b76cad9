"""Painted single-cell images of a stained blood smear, for runs that need no download.

Every image shows one cell in the May-Gruenwald-Giemsa colours that a hematologist reads: violet nuclei, blue to pink
cytoplasm, granules that distinguish the granulocytes, and red blood cells at the margins. Points are complex numbers
x + iy with the image centre at 0 and the margins at 1, so one geometry serves every image size.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from bcc_lightning.datasets.classes import EIGHT_CELL_CLASSES

Colour = tuple[float, float, float]
Points = npt.NDArray[np.complex128]
Canvas = npt.NDArray[np.float32]


@dataclass(frozen=True)
class CellRecipe:
    """How one kind of blood cell looks; traits are numbers and RGB colours, 0 to 255, so that two cells can be blended.

    Attributes:
        look_alike: Class this cell is mistaken for at the microscope; difficulty pulls its traits that way.
        radius: Cell radius, where 1 reaches the image margin.
        cytoplasm: Colour of the cell body.
        lobes: Mean number of nuclear lobes: 3.5 gives three or four with equal chance, 0 a cell without nucleus.
        lobe_radius: Radius of one lobe as a fraction of the cell radius.
        lobe_offset: Distance of the lobes from the cell centre as a fraction of the cell radius.
        indentation: Depth of the notch in the nucleus, from 0 (round) to about 0.7 (kidney shape).
        unevenness: Unevenness of the nuclear outline as a multiple of that of the cell outline.
        nucleus: Colour of the nucleus.
        clumping: Strength of the light and dark chromatin pattern.
        granules: Mean number of granules.
        granule_radius: Radius of one granule as a fraction of the cell radius.
        granule: Colour of the granules.
        veil: How far granules hide the nucleus, from 0 (they lie behind it) to 1 (they cover it).
    """

    look_alike: str
    radius: float
    cytoplasm: Colour
    lobes: float
    lobe_radius: float
    lobe_offset: float
    indentation: float
    unevenness: float
    nucleus: Colour
    clumping: float
    granules: float
    granule_radius: float
    granule: Colour
    veil: float


# Columns as in CellRecipe.
RECIPES: Mapping[str, CellRecipe] = {
    "basophil": CellRecipe(
        "ig", 0.53, (176, 150, 192), 2, 0.42, 0.32, 0.1, 2, (112, 74, 146), 0.08, 60, 0.105, (58, 34, 104), 0.9
    ),
    "eosinophil": CellRecipe(
        "neutrophil", 0.58, (236, 178, 160), 2, 0.37, 0.44, 0.1, 2, (96, 52, 124), 0.1, 110, 0.085, (216, 96, 66), 0.1
    ),
    "erythroblast": CellRecipe(
        "lymphocyte", 0.4, (190, 170, 184), 1, 0.54, 0.08, 0, 0.2, (50, 26, 66), 0.14, 0, 0.03, (160, 140, 170), 0
    ),
    "ig": CellRecipe(
        "monocyte", 0.7, (186, 172, 214), 1, 0.68, 0.16, 0.1, 1.5, (148, 88, 168), 0.1, 90, 0.04, (124, 44, 134), 0.45
    ),
    "lymphocyte": CellRecipe(
        "erythroblast", 0.47, (172, 196, 232), 1, 0.83, 0.08, 0, 1, (92, 54, 134), 0.12, 0, 0.03, (150, 90, 160), 0
    ),
    "monocyte": CellRecipe(
        "ig", 0.73, (172, 172, 196), 1, 0.66, 0.1, 0.62, 1.5, (134, 100, 158), 0.13, 25, 0.025, (158, 120, 164), 0
    ),
    "neutrophil": CellRecipe(
        "eosinophil", 0.58, (240, 206, 208), 3.6, 0.27, 0.46, 0, 2, (84, 42, 116), 0.12, 90, 0.028, (212, 152, 178), 0
    ),
    "platelet": CellRecipe(
        "erythroblast", 0.2, (190, 158, 204), 0, 0.3, 0.1, 0, 2, (140, 90, 166), 0.05, 14, 0.16, (132, 76, 156), 1
    ),
}
SIZE_RANGE = (16, 512)
_BACKGROUND: Colour = (242, 226, 220)
_RED_CELL: Colour = (224, 168, 162)
_RED_CELL_RADIUS = 0.33
_SUBPIXEL_BITS = 4
_ANGLES = np.linspace(0.0, 2.0 * np.pi, 48, endpoint=False)
_WAVES = np.stack([wave(order * _ANGLES) / order for order in (2, 3, 4) for wave in (np.cos, np.sin)])
# A notch on one side and a matching elongation across it turn a disc into a kidney.
_NOTCH = np.exp(-0.5 * ((_ANGLES - np.pi) / 0.5) ** 2) + 0.3 * np.cos(2.0 * _ANGLES)


def paint_cells(labels: npt.NDArray[np.int64], size: int, difficulty: float, seed: int) -> npt.NDArray[np.uint8]:
    """Paint one cell for every label.

    Image ``i`` depends only on ``(seed, i, labels[i], size, difficulty)``, so a longer request repeats the images of
    a shorter one. Another size shows the same cells, finer or coarser and with other sensor noise.

    Args:
        labels: Class of each image, shape ``(N,)``, values 0 to 7 as positions in ``EIGHT_CELL_CLASSES``.
        size: Height and width of each image in pixels, 16 to 512.
        difficulty: From 0, clean textbook cells, to 1, strong variation of stain and shape, noise, blur and cells
            between two classes.
        seed: Seed of the whole set, 0 or larger.

    Returns:
        RGB images, uint8, shape ``(N, size, size, 3)``.

    Raises:
        ValueError: If an argument is outside its range or ``labels`` is not one-dimensional.
    """
    _check_request(labels, size, difficulty, seed)
    images = np.empty((len(labels), size, size, 3), dtype=np.uint8)
    for index, label in enumerate(labels):
        images[index] = _paint_cell(np.random.default_rng([seed, index]), EIGHT_CELL_CLASSES[label], size, difficulty)
    return images


def _check_request(labels: npt.NDArray[np.int64], size: int, difficulty: float, seed: int) -> None:
    if labels.ndim != 1:
        raise ValueError(f"labels has shape {labels.shape}; it must have one dimension")
    top_label = len(EIGHT_CELL_CLASSES) - 1
    ranges: tuple[tuple[str, float, float, float], ...] = (
        ("size", size, *SIZE_RANGE),
        ("difficulty", difficulty, 0, 1),
        ("seed", seed, 0, np.inf),
        ("labels", labels.min(initial=0), 0, top_label),
        ("labels", labels.max(initial=0), 0, top_label),
    )
    for name, value, low, high in ranges:
        if not low <= value <= high:
            raise ValueError(f"{name} holds {value}; allowed are {low} to {high}")


def _paint_cell(rng: np.random.Generator, name: str, size: int, difficulty: float) -> npt.NDArray[np.uint8]:
    recipe = _vary(rng, RECIPES[name], difficulty)
    wobble = 0.03 + 0.05 * difficulty
    centre = complex(*rng.normal(0.0, 0.02 + 0.06 * difficulty, 2))
    canvas = _paint_background(rng, max(2 * size, 64))
    width = canvas.shape[-1]
    body = _fill(_outlines(rng, np.array([centre]), recipe.radius, wobble), width)
    nucleus = np.minimum(_nucleus(rng, recipe, centre, wobble, width), body)
    granules = np.minimum(_granules(rng, recipe, centre, width), body)
    texture = cv2.resize(rng.standard_normal((16, 16), np.float32), (width, width), interpolation=cv2.INTER_CUBIC)
    _stain(canvas, body, recipe.cytoplasm, 1.0 + 0.03 * texture)
    _stain(canvas, nucleus, recipe.nucleus, 1.0 + recipe.clumping * texture)
    _stain(canvas, granules - np.float32(1.0 - recipe.veil) * granules * nucleus, recipe.granule)
    return _expose(rng, canvas, size, difficulty)


def _vary(rng: np.random.Generator, recipe: CellRecipe, difficulty: float) -> CellRecipe:
    """Pull every trait towards the look-alike, then vary the colours and the size of the cell."""
    # A weight above one half makes some cells look more like the other class than like their own.
    weight = 0.7 * difficulty * rng.random()
    spread = 0.02 + 0.1 * difficulty
    traits: dict[str, Any] = {}
    for trait in [field.name for field in fields(recipe) if field.name != "look_alike"]:
        own, other = getattr(recipe, trait), getattr(RECIPES[recipe.look_alike], trait)
        if isinstance(own, tuple):
            factors = rng.uniform(1.0 - spread, 1.0 + spread, 3)
            traits[trait] = tuple((a + weight * (b - a)) * f for a, b, f in zip(own, other, factors, strict=True))
        else:
            traits[trait] = own + weight * (other - own)
    traits["radius"] *= rng.uniform(1.0 - spread, 1.0 + spread)
    return replace(recipe, **traits)


def _paint_background(rng: np.random.Generator, width: int) -> Canvas:
    canvas = np.tile(np.array(_BACKGROUND, dtype=np.float32)[:, None, None], (1, width, width))
    count = int(rng.integers(2, 6))
    angles = rng.uniform(0.0, 2.0 * np.pi) + 2.0 * np.pi * np.arange(count) / count + rng.normal(0.0, 0.3, count)
    centres = rng.uniform(0.9, 1.25, count) * np.exp(1j * angles)
    rims = _outlines(rng, centres, _RED_CELL_RADIUS, 0.04)
    pallors = 0.4 * rims + 0.6 * centres[:, None]
    mask = cv2.GaussianBlur(_fill(rims, width) - 0.5 * _fill(pallors, width), (0, 0), width * 0.025)
    _stain(canvas, mask.astype(np.float32), _RED_CELL)
    return canvas


def _outlines(rng: np.random.Generator, centres: Points, radius: float, wobble: float, indentation: float = 0.0) -> Points:
    """Return one polygon, 48 corners around each of N centres, shape (N, 48), with an uneven rim and a random turn."""
    swell = wobble * (rng.standard_normal((len(centres), len(_WAVES))) @ _WAVES)
    turns = rng.uniform(0.0, 2.0 * np.pi, (len(centres), 1))
    corners: Points = radius * (1.0 + swell - indentation * _NOTCH) * np.exp(1j * (_ANGLES + turns))
    return centres[:, None] + corners


def _pixels(points: Points, width: int) -> npt.NDArray[np.int32]:
    """Turn points into the fixed-point (x, y) pixel positions that cv2 draws at, one more axis of length 2."""
    places = (points[..., None].view(np.float64) + 1.0) * (width / 2.0) - 0.5
    return np.asarray(np.rint(places * 2**_SUBPIXEL_BITS), dtype=np.int32)


def _fill(outlines: Points, width: int) -> Canvas:
    """Return a mask, 0 to 1, shape (width, width), of the area inside any of the outlines."""
    mask = np.zeros((width, width), dtype=np.uint8)
    # One call per outline, because a single call would leave overlaps empty.
    for outline in _pixels(outlines, width):
        cv2.fillPoly(mask, [outline], (255,), cv2.LINE_AA, _SUBPIXEL_BITS)
    return mask.astype(np.float32) / np.float32(255.0)


def _nucleus(rng: np.random.Generator, recipe: CellRecipe, centre: complex, wobble: float, width: int) -> Canvas:
    count = int(recipe.lobes + rng.random())
    # Lobes lie on an open arc, as the segments of a granulocyte's nucleus do.
    steps = np.arange(count) * min(2.4, 4.0 / max(count - 1, 1))
    angles = rng.uniform(0.0, 2.0 * np.pi) + steps + rng.normal(0.0, 0.15, count)
    centres = centre + recipe.radius * recipe.lobe_offset * np.exp(1j * angles)
    unevenness = wobble * recipe.unevenness
    mask = _fill(_outlines(rng, centres, recipe.radius * recipe.lobe_radius, unevenness, recipe.indentation), width)
    if count > 1:
        thickness = max(1, round(0.08 * recipe.radius * width))
        cv2.polylines(mask, [_pixels(centres, width)], False, (1.0,), thickness, cv2.LINE_8, _SUBPIXEL_BITS)
    return mask


def _granules(rng: np.random.Generator, recipe: CellRecipe, centre: complex, width: int) -> Canvas:
    mask = np.zeros((width, width), dtype=np.uint8)
    count = int(rng.poisson(recipe.granules))
    # The square root spreads the granules evenly over the area of the cell.
    distances = 0.92 * recipe.radius * np.sqrt(rng.random(count))
    spots = centre + distances * np.exp(2j * np.pi * rng.random(count))
    radius = round(recipe.radius * recipe.granule_radius * width / 2.0 * 2**_SUBPIXEL_BITS)
    for spot in _pixels(spots, width).tolist():
        cv2.circle(mask, spot, radius, (255,), cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)
    return mask.astype(np.float32) / np.float32(255.0)


def _stain(canvas: Canvas, mask: Canvas, colour: Colour, shading: Canvas | float = 1.0) -> None:
    """Cover the canvas, shape (3, width, width), in place with a shaded colour, as densely as the mask says."""
    canvas += mask * (np.array(colour, dtype=np.float32)[:, None, None] * shading - canvas)


def _expose(rng: np.random.Generator, canvas: Canvas, size: int, difficulty: float) -> npt.NDArray[np.uint8]:
    """Photograph the slide: lens blur, stain and lamp variation, then sensor noise at the final size."""
    blur = canvas.shape[-1] * (0.006 + 0.02 * difficulty * rng.random())
    stain = 1.0 + (0.01 + 0.08 * difficulty) * rng.uniform(-1.0, 1.0, 3)
    lamp = 1.0 + (0.01 + 0.12 * difficulty) * rng.uniform(-1.0, 1.0)
    sharp = cv2.merge(list(canvas))
    image = cv2.resize(cv2.GaussianBlur(sharp, (0, 0), blur), (size, size), interpolation=cv2.INTER_AREA)
    noise = (1.5 + 14.0 * difficulty) * rng.standard_normal(image.shape, np.float32)
    return np.asarray(np.clip(image * (stain * lamp) + noise, 0.0, 255.0), dtype=np.uint8)
