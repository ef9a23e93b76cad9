"""How faithful the maps of each method are for one network, measured on test cells and on cells with masks."""

import time
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bcc_lightning.explanation.baselines import BASELINES
from bcc_lightning.explanation.maps import maps_of
from bcc_lightning.explanation.masks import MaskedCells, mass_inside, pointing_game
from bcc_lightning.explanation.methods import METHODS, Maps
from bcc_lightning.explanation.perturbation import blur, deletion_and_insertion, probability, road
from bcc_lightning.explanation.randomisation import randomised, rank_correlation, structural_similarity
from bcc_lightning.explanation.scores import Faithfulness, MethodScores
from bcc_lightning.modules.base import CellClassifier

RANDOM_NETWORKS = 3
"""Networks with weights drawn anew, among which the cells of the sanity check are divided: one draw could be an odd one."""

BATCH = 32

PARTS = ("cell", "nucleus")


class Judge:
    """Scores the maps of one network.

    Args:
        module: a trained module.
        images: (N, 3, H, W) uint8, test cells.
        masked: cells with masks.
        seed: of the randomised networks.

    Attributes:
        shown_pixels: what the network sees of the cells with masks, or of the test cells if there are none.
        shown_classes: what it predicts for them.
    """

    def __init__(self, module: CellClassifier, images: Tensor, masked: MaskedCells | None = None, seed: int = 0) -> None:
        self.module = module.eval()
        self.masked = masked
        self.pixels, self.classes = self._prepared(images)
        self.randomised = [randomised(module, seed + number) for number in range(RANDOM_NETWORKS)]
        self.shown_pixels, self.shown_classes = self.pixels, self.classes
        if masked:
            self.shown_pixels, self.shown_classes = self._prepared(torch.from_numpy(masked.images).permute(0, 3, 1, 2))

    def judge(self, methods: Sequence[str]) -> Iterator[MethodScores]:
        """Score methods, then all baselines.

        Args:
            methods: names of `METHODS`.

        Yields:
            The scores of each.
        """
        for name in methods:
            yield self.score(MethodScores(name, METHODS[name].title, is_baseline=False))
        for name in BASELINES:
            yield self.score(MethodScores(name, name, is_baseline=True))

    def score(self, one: MethodScores) -> MethodScores:
        """Fill in the scores of a method or baseline."""
        network, pixels, classes = self.module.network, self.pixels, self.classes
        start = time.perf_counter()
        maps = maps_by(one, self.module, pixels, classes)
        one.seconds = (time.perf_counter() - start) / len(maps)
        one.blank = int((maps.max(axis=(1, 2)) == 0).sum())
        one.scores["road"] = road(network, pixels, classes, maps)
        one.scores["deletion"], one.scores["insertion"] = deletion_and_insertion(network, pixels, classes, maps)
        forgotten = maps if one.is_baseline else self._maps_of_randomised(one.name)
        one.scores["rank_correlation"] = np.abs(rank_correlation(maps, forgotten))
        one.scores["ssim"] = structural_similarity(maps, forgotten)
        if self.masked:
            maps = maps_by(one, self.module, self.shown_pixels, self.shown_classes)
            for part in PARTS:
                inside = self.masked.inside(part)
                one.scores[f"pointing_{part}"] = pointing_game(maps, inside)
                one.scores[f"mass_{part}"] = mass_inside(maps, inside)
        return one

    def gathered(self, methods: list[MethodScores]) -> Faithfulness:
        """Put scores together with what is needed to read them."""
        network = self.module.network
        sharp = probability(network, self.pixels, self.classes).mean()
        blurred = probability(network, blur(self.pixels), self.classes).mean()
        area = [float(self.masked.inside(part).mean()) if self.masked else np.nan for part in PARTS]
        masked_cells = len(self.masked.names) if self.masked else 0
        return Faithfulness(methods, len(self.pixels), masked_cells, (float(sharp), float(blurred)), (area[0], area[1]))

    def _maps_of_randomised(self, method: str) -> Maps:
        """Compute the maps of the test cells, divided among the randomised networks."""
        step, maps = len(self.randomised), np.empty((len(self.pixels), *self.pixels.shape[2:]), np.float32)
        for first, module in enumerate(self.randomised):
            if first < len(maps):
                maps[first::step] = maps_of(module, self.pixels[first::step], self.classes[first::step], method)
        return maps

    @torch.no_grad()
    def _prepared(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the network sees of images, and what it predicts."""
        pixels = self.module.prepare(images.to(self.module.device))
        return pixels, torch.cat([self.module.network(some).argmax(dim=1) for some in torch.split(pixels, BATCH)])


def maps_by(one: MethodScores, module: CellClassifier, pixels: Tensor, classes: Tensor) -> Maps:
    """Compute the maps (N, S, S) of a method or baseline."""
    return BASELINES[one.name](pixels) if one.is_baseline else maps_of(module, pixels, classes, one.name)


def stratified(labels: npt.NDArray[np.int64], count: int, seed: int) -> npt.NDArray[np.int64]:
    """Draw cells so that each class keeps its share.

    Args:
        labels: (N,) classes.
        count: cells to draw; all if there are fewer.
        seed: of the draw.

    Returns:
        (min(N, count),) positions, ascending.
    """
    generator = np.random.default_rng(seed)
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        place[members] = (generator.permutation(len(members)) + 0.5) / len(members)
    return np.sort(np.argsort(place, kind="stable")[:count])
