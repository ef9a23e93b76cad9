"""Weights from the hub's cache, the hub or a local file; never silently random."""

from collections.abc import Callable
from contextlib import suppress
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

from bcc_lightning.errors import UserError
from bcc_lightning.network import check_connection

HUB_TIMEOUT = 3.0
"""Seconds to wait for the hub's answer before it counts as unreachable."""

SHOWN_KEYS = 3

OWN_BACKBONE = "network.backbone.network."
"""Prefix of a backbone's keys in a checkpoint of `TransferClassifier`."""


def find_weights(name: str) -> str | None:
    """Find a backbone's pretrained weights in the hub's cache, or make sure that the hub can be reached.

    Args:
        name: timm's name of the backbone.

    Returns:
        Path of the cached file, which is loaded without asking the hub for a newer one; None if it must be downloaded.

    Raises:
        UserError: timm has no weights for it, or they are neither cached nor reachable (within about 3 seconds).
    """
    from huggingface_hub import constants

    cfg = timm.get_pretrained_cfg(name)
    if cfg is not None and cfg.hf_hub_id is None and cfg.url:
        return find_download(name, str(cfg.url))
    if cfg is None or cfg.hf_hub_id is None:
        raise UserError(f"timm has no pretrained weights for '{name}'; use --model.pretrained false")
    cached = cached_file(cfg.hf_hub_id)
    if cached or (not constants.HF_HUB_OFFLINE and hub_answers(constants.ENDPOINT)):
        return cached
    raise out_of_reach(name, cfg.hf_hub_id, constants.HF_HUB_CACHE)


def find_download(name: str, url: str) -> str | None:
    """Find weights that timm downloads from a plain URL; result and errors as in `find_weights`."""
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", maxsplit=1)[-1]
    if file.is_file():
        return str(file)
    if hub_answers(url):
        return None
    raise out_of_reach(name, url, str(file.parent))


def out_of_reach(name: str, source: str, cache: str) -> UserError:
    """Describe that weights are neither cached nor reachable, and the next step."""
    return UserError(
        f"pretrained weights of '{name}' ({source}) are not in the cache {cache} and the hub cannot be reached.\n"
        "Next step: run once with a network connection, or give a file with --model.weights FILE, "
        "or train from random weights with --model.pretrained false"
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


def count(what: str, keys: list[str]) -> str:
    """Summarise keys: their number, and the first few."""
    shown = ", ".join(keys[:SHOWN_KEYS]) + (", ..." if len(keys) > SHOWN_KEYS else "")
    return f"{len(keys)} {what}" + (f" ({shown})" if keys else "")


def read_state_dict(file: str | Path) -> dict[str, Tensor]:
    """Read a state dict from a weights file or a checkpoint, without running code from it.

    Args:
        file: ``.safetensors``, ``.pth``, ``.pt`` or ``.ckpt``.

    Raises:
        UserError: there is no such file, or it holds no weights.
    """
    path = Path(file)
    if not path.is_file():
        raise UserError(f"weights file {path} does not exist; give another with --model.weights FILE")
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
    return {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}
