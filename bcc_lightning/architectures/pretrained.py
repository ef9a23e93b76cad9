"""Weights from the hub's cache, a package, the hub or a local file; never silently random."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from sys import modules
from typing import Any
from urllib.parse import urlparse

import timm
import torch
from safetensors import SafetensorError
from timm.models import load_state_dict
from torch import Tensor, nn

from bcc_lightning.architectures.weight_packages import PACKAGES, find_package, in_timms_names, installed_backbones
from bcc_lightning.errors import UserError
from bcc_lightning.files import file_hash
from bcc_lightning.network import check_connection

HUB_TIMEOUT = 3.0
"""Seconds to wait for the hub's answer before it counts as unreachable."""

SHOWN_KEYS = 3

PROJECTIONS = ("dino_head.", "ibot_head.")
"""Parts of a self-supervised training by DINOv2 that only serve its loss."""

DINOBLOOM = "https://zenodo.org/records/10908163"

PUBLISHED_AT = {
    "dinobloom-s": f"{DINOBLOOM}, SHA-256 c2f7990b003e89bcece80e379fb8fe0ba2ec392ce19b286e8a294abd99568e44",
    "dinobloom": f"{DINOBLOOM}, with its checksum",
}
"""Where weights are published that come as files, by the beginnings of their names; the longest first."""

CORRECTION = "network.class_shares"
"""Key of a checkpoint that is no weight: it follows from the cells that a network is trained on."""

OWN_BACKBONE = "network.backbone.network."
"""Prefix of a backbone's keys in a checkpoint of `TransferClassifier`."""


@dataclass(frozen=True)
class Origin:
    """Where the weights come from that a network starts from.

    Attributes:
        name: the hub's repository, the package, or the file.
        place: the file on this machine, which may not be there yet.
        is_packaged: whether the file is from a package, which names layers in its own way.
    """

    name: str
    place: str
    is_packaged: bool = False

    @property
    def file(self) -> str | None:
        """The file; None if it has yet to be downloaded."""
        return self.place if Path(self.place).is_file() else None

    def __str__(self) -> str:
        """Name the origin and the SHA-256 of the file."""
        return f"{self.name}, sha256 {file_hash(Path(self.place))}" if self.file else self.name


def find_weights(name: str) -> Origin:
    """Find a backbone's pretrained weights: in the hub's cache, in an installed package, or at the hub.

    Args:
        name: timm's name of the backbone.

    Returns:
        Where they come from. A file that is here is loaded without asking the hub for a newer one.

    Raises:
        UserError: timm has no weights for it, or they are neither here nor reachable (within about 3 seconds).
    """
    from huggingface_hub import constants

    cfg = timm.get_pretrained_cfg(name)
    if cfg is None or not (cfg.hf_hub_id or cfg.url):
        raise UserError(f"timm has no pretrained weights for '{name}'; use --model.pretrained false")
    if cfg.hf_hub_id:
        origin, cache = Origin(cfg.hf_hub_id, cached_file(cfg.hf_hub_id) or ""), constants.HF_HUB_CACHE
        may_ask, source = not constants.HF_HUB_OFFLINE, constants.ENDPOINT
    else:
        cache, source, may_ask = f"{torch.hub.get_dir()}/checkpoints", str(cfg.url), True
        origin = Origin(source, f"{cache}/{source.rsplit('/', maxsplit=1)[-1]}")
    if origin.file:
        return origin
    if packaged := find_package(name):
        file, package = packaged
        return Origin(package, str(file), is_packaged=True)
    if may_ask and hub_answers(source):
        return origin
    raise out_of_reach(name, origin.name, cache)


def out_of_reach(name: str, source: str, cache: str) -> UserError:
    """Describe that weights are neither here nor reachable, and the next step."""
    package, here = PACKAGES.get(name.partition(".")[0]), ", ".join(installed_backbones())
    ways = [f"install {package} (the extra weights)"] if package else []
    ways += ["run once with a network connection", "give a file with --model.weights FILE"]
    ways += [f"take a backbone whose weights are here ({here})"] if here else []
    return UserError(
        f"pretrained weights of '{name}' ({source}) are not in the cache {cache} and the hub cannot be reached.\n"
        f"Next step: {', or '.join(ways)}, or train from random weights with --model.pretrained false"
    )


def cached_file(hub_id: str) -> str | None:
    """Return the weights file of a repository in the hub's local cache; None if there is none."""
    from huggingface_hub import constants, try_to_load_from_cache

    files = ("model.safetensors", "pytorch_model.bin")
    found = (try_to_load_from_cache(hub_id, file, cache_dir=constants.HF_HUB_CACHE) for file in files)
    return next((path for path in found if isinstance(path, str)), None)


def hub_answers(endpoint: str) -> bool:
    """Check within `HUB_TIMEOUT` seconds whether the hub, or the proxy before it, accepts connections."""
    from urllib.request import getproxies

    url = urlparse(getproxies().get(urlparse(endpoint).scheme, endpoint))
    try:
        check_connection(url.hostname or "", url.port or 443, HUB_TIMEOUT)
    except OSError:
        return False
    return True


def load_packaged_weights(backbone: nn.Module, origin: Origin) -> None:
    """Load the weights of a package into a timm network without classifier; arguments as `load_backbone_weights`."""
    state = in_timms_names(read_state_dict(origin.place), backbone.state_dict())
    load_strictly(backbone, state, origin.place)


def load_backbone_weights(backbone: nn.Module, state: dict[str, Tensor], file: str | Path) -> None:
    """Load a timm checkpoint into a timm network without classifier, adapting position tables to its image size.

    Args:
        backbone: a network from ``timm.create_model(..., num_classes=0)``.
        state: weights from `read_state_dict`, of timm's file or a checkpoint of `TransferClassifier`; keys of a classifier are
            left out.
        file: the file they come from, for the message.

    Raises:
        UserError: the weights are those of another architecture.
    """
    state = {key.removeprefix(OWN_BACKBONE): value for key, value in state.items() if key.startswith(OWN_BACKBONE)} or state
    cfg: Any = backbone.pretrained_cfg
    classifiers = cfg["classifier"] or ()
    # Inception's second classifier, and VGG's wide layers if they were left out.
    spare = ["AuxLogits", *(["pre_logits"] if isinstance(getattr(backbone, "pre_logits", None), nn.Identity) else [])]
    heads = tuple(f"{c}." for c in [*([classifiers] if isinstance(classifiers, str) else classifiers), *spare])
    adapt: Callable[..., dict[str, Tensor]] | None = getattr(modules[type(backbone).__module__], "checkpoint_filter_fn", None)
    if adapt and not fits(backbone.state_dict(), without_heads(state, heads)):
        # For another architecture, a summary of the differences says more than timm's error.
        with suppress(AttributeError, KeyError, RuntimeError):
            state = adapt(state, backbone)
    body = without_heads(state, heads)  # after adapting, which also renames heads of older layouts
    load_strictly(backbone, body, file)


def without_heads(state: dict[str, Tensor], heads: tuple[str, ...]) -> dict[str, Tensor]:
    """Leave out the keys of classifiers."""
    return {key: value for key, value in state.items() if not key.startswith(heads)}


def fits(own: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Check whether two state dicts have the same keys and shapes."""
    return own.keys() == other.keys() and all(own[key].shape == other[key].shape for key in own)


def load_strictly(network: nn.Module, state: dict[str, Tensor], file: str | Path) -> None:
    """Load a state dict; if it does not fit, summarise the differences.

    Raises:
        UserError: keys are missing or unexpected, or shapes differ; nothing is loaded then.
    """
    own = network.state_dict()
    missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    reshaped = [k for k in own.keys() & state.keys() if own[k].shape != state[k].shape]
    if missing or unexpected or reshaped:
        raise UserError(
            f"weights in {file} belong to another architecture than {type(network).__name__}: "
            f"{count('missing', missing)}; {count('unexpected', unexpected)}; {count('of another shape', sorted(reshaped))}.\n"
            "Next step: give the file of this architecture, or leave --model.weights out"
        )
    network.load_state_dict(state)


def of_teacher(state: dict[str, Any]) -> dict[str, Any]:
    """Return the backbone of a self-supervised training by DINOv2, such as DinoBloom: the teacher's, without projection heads."""
    return {key.removeprefix("backbone."): value for key, value in state.items() if not key.startswith(PROJECTIONS)}


def count(what: str, keys: list[str]) -> str:
    """Summarise keys: their number, and the first few."""
    shown = ", ".join(keys[:SHOWN_KEYS]) + (", ..." if len(keys) > SHOWN_KEYS else "")
    return f"{len(keys)} {what}" + (f" ({shown})" if keys else "")


def read_state_dict(file: str | Path) -> dict[str, Tensor]:
    """Read the weights from a weights file or a checkpoint, without running code from it.

    Args:
        file: ``.safetensors``, ``.pth``, ``.pt`` or ``.ckpt``.

    Raises:
        UserError: there is no such file, or it holds no weights.
    """
    path = Path(file)
    if not path.is_file():
        known = next((place for name, place in PUBLISHED_AT.items() if name in path.name.lower()), None)
        where = f"; it is published at {known}" if known else ""
        raise UserError(f"weights file {path} does not exist{where}; give its place, or another file, with --model.weights FILE")
    try:
        state: dict[str, Any] = load_state_dict(str(path), use_ema=False, device="cpu", weights_only=True)
    except UnpicklingError as error:
        raise UserError(
            f"weights file {path} cannot be read as a state dict: it is damaged, or holds more than weights, which could run "
            "code and is not read; give another with --model.weights FILE"
        ) from error
    except (OSError, RuntimeError, ValueError, EOFError, LookupError, TypeError, AttributeError, SafetensorError) as error:
        raise UserError(f"weights file {path} cannot be read as a state dict: {error!s:.200}") from error
    if not isinstance(state, dict):
        raise UserError(f"weights file {path} cannot be read as a state dict: it holds a {type(state).__name__}")
    if isinstance(teacher := state.get("teacher"), dict):
        state = of_teacher(teacher)
    return {key: value for key, value in state.items() if isinstance(value, torch.Tensor) and key != CORRECTION}
