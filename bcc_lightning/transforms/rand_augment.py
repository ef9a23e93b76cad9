"""RandAugment and AugMix, which Albumentations lacks, with the operations and strengths of KerasCV's layers.

torchvision has both, but draws from torch's global generator, so that its numbers cannot follow from the cells of a batch. It
also has neither the normal distribution of the strength nor KerasCV's set of operations.
"""

from collections.abc import Callable
from typing import Any

import albumentations as A  # noqa: N812 - the library's own spelling
import numpy as np
from albumentations.augmentations.pixel import functional

from bcc_lightning.transforms import operations as op
from bcc_lightning.transforms.operations import Pixels
from bcc_lightning.transforms.parameters import refuse_outside

Operation = Callable[[Pixels, float], Pixels]
Drawn = tuple[str, float]
"""Name of an operation and its strength."""

NORMAL: dict[str, Operation] = {
    "solarize": lambda image, s: op.solarize(image, 255 * (1 - abs(s)), 110 * abs(s)),
    "fade": lambda image, s: functional.adjust_saturation_torchvision(image, 1 - abs(s)),
    "shear_x": lambda image, s: op.shear(image, s, 0),
    "shear_y": lambda image, s: op.shear(image, 0, s),
}
"""RandAugment's operations whose strength is normally distributed about the magnitude; the sign is the direction.

Fading mixes an image with itself in grey: a strength of 0 keeps all colour, 1 none.
"""

UNIFORM: dict[str, Operation] = {
    "contrast": lambda image, s: op.contrast(image, 1 + s),
    "brightness": op.brightness,
    "translate_x": lambda image, s: op.translate(image, s, 0),
    "translate_y": lambda image, s: op.translate(image, 0, s),
}
"""RandAugment's operations whose strength is uniformly distributed from minus to plus the magnitude."""

WHOLE: dict[str, Operation] = {
    "auto_contrast": lambda image, s: op.auto_contrast(image),
    "equalize": lambda image, s: functional.equalize(image),
}
"""Operations without a strength."""

AUGMIX: dict[str, Operation] = {
    **WHOLE,
    "posterize": lambda image, s: op.posterize(image, 4 - int(3 * abs(s))),
    "solarize": lambda image, s: op.solarize(image, 255 * (1 - abs(s))),
    "rotate": lambda image, s: op.rotate(image, 30 * s),
    "shear_x": lambda image, s: op.shear(image, 0.3 * s, 0),
    "shear_y": lambda image, s: op.shear(image, 0, 0.3 * s),
    "translate_x": lambda image, s: op.translate(image, s / 3, 0),
    "translate_y": lambda image, s: op.translate(image, 0, s / 3),
}
"""AugMix's operations at a strength from -1 to 1; the sign is the direction."""

RAND_AUGMENT: dict[str, Operation] = {**WHOLE, **NORMAL, **UNIFORM}
GEOMETRIC = ("shear_x", "shear_y", "translate_x", "translate_y")


class RandAugment(A.ImageOnlyTransform):  # type: ignore[misc] # Albumentations has no types
    """Apply a few randomly chosen operations one after the other (Cubuk et al. 2019, arXiv 1909.13719), as KerasCV does.

    Args:
        magnitude: mean strength, in [0, 1].
        magnitude_std: standard deviation of the strength, in [0, 1]; strengths are clipped to [0, 1].
        augmentations: number of operations per image, 1 to 10, drawn with replacement.
        geometric: whether to shear and shift as well.
        p: share of images to which it is applied.
    """

    def __init__(
        self,
        magnitude: float = 0.5,
        magnitude_std: float = 0.15,
        augmentations: int = 3,
        geometric: bool = True,
        p: float = 1.0,
    ) -> None:
        refuse_outside(0, 1, magnitude=magnitude, magnitude_std=magnitude_std, p=p)
        refuse_outside(1, 10, augmentations=augmentations)
        super().__init__(p=p)
        self.magnitude = magnitude
        self.magnitude_std = magnitude_std
        self.augmentations = int(augmentations)
        self.geometric = bool(geometric)
        self.names = [name for name in RAND_AUGMENT if self.geometric or name not in GEOMETRIC]

    def get_params(self) -> dict[str, Any]:
        """Draw the operations and their strengths."""
        return {"steps": [(name, self._strength(name)) for name in self.py_random.choices(self.names, k=self.augmentations)]}

    def apply(self, img: Pixels, steps: list[Drawn], **params: Any) -> Pixels:  # noqa: ANN401
        """Apply the operations one after the other."""
        for name, strength in steps:
            img = RAND_AUGMENT[name](img, strength)
        return img

    def _strength(self, name: str) -> float:
        if name in UNIFORM:
            return float(self.py_random.uniform(-self.magnitude, self.magnitude))
        strength = min(max(float(self.py_random.gauss(self.magnitude, self.magnitude_std)), 0.0), 1.0)
        return strength if self.py_random.random() < 0.5 else -strength  # noqa: PLR2004 - a coin


class AugMix(A.ImageOnlyTransform):  # type: ignore[misc] # Albumentations has no types
    """Mix the image with several chains of operations (Hendrycks et al. 2020, arXiv 1912.02781).

    The result is ``w * image + (1 - w) * sum(v_i * chain_i)`` with w from Beta(alpha, alpha) and v from Dirichlet(alpha).

    Args:
        severity: largest strength of an operation, in [0, 1].
        chains: number of chains, 1 to 10.
        depth: smallest and largest number of operations in a chain, 1 to 10.
        alpha: parameter of the two distributions, in (0, 100].
        p: share of images to which it is applied.
    """

    def __init__(
        self, severity: float = 0.3, chains: int = 3, depth: tuple[int, int] = (1, 3), alpha: float = 1.0, p: float = 1.0
    ) -> None:
        refuse_outside(0, 1, severity=severity, p=p)
        refuse_outside(1, 10, chains=chains)
        refuse_outside(1e-3, 100, alpha=alpha)
        low, high = depth
        refuse_outside(1, 10, depth=low)
        refuse_outside(low, 10, depth=high)
        super().__init__(p=p)
        self.severity = severity
        self.chains = int(chains)
        self.depth = (int(low), int(high))
        self.alpha = alpha

    def get_params(self) -> dict[str, Any]:
        """Draw the chains and the shares in which they are mixed."""
        kept = self.random_generator.beta(self.alpha, self.alpha)
        shares = (1 - kept) * self.random_generator.dirichlet([self.alpha] * self.chains)
        return {"kept": float(kept), "chains": [(float(share), self._chain()) for share in shares]}

    def apply(
        self,
        img: Pixels,
        kept: float,
        chains: list[tuple[float, list[Drawn]]],
        **params: Any,  # noqa: ANN401
    ) -> Pixels:
        """Run the chains and mix."""
        mixed = np.float32(kept) * img
        for share, steps in chains:
            changed = img
            for name, strength in steps:
                changed = AUGMIX[name](changed, strength)
            mixed += np.float32(share) * changed
        return np.asarray(np.rint(mixed).clip(0, 255), np.uint8)

    def _chain(self) -> list[Drawn]:
        names = self.py_random.choices(list(AUGMIX), k=self.py_random.randint(*self.depth))
        return [(name, self.py_random.uniform(-self.severity, self.severity)) for name in names]
