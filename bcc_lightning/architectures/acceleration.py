"""Speed without loss of accuracy: memory layout, half precision and fused optimisers, all decided here.

Measured on one CPU core against eager float32: Swin-T gains 1.9 to 2.2 from bfloat16; depthwise networks such as
EfficientNet-B0 lose 20 % with it and gain 1.2 to 1.4 from channels_last. ``benchmarks/precision.py`` repeats the measurement.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import nn

from bcc_lightning.argument_types import check_choice

Precision = Literal["auto", "32", "bf16"]

FUSED_OPTIMIZERS = frozenset({"adam", "adamw", "sgd"})
"""Optimisers whose torch implementation takes ``fused=True`` on a CPU and on CUDA."""


def lay_out(network: nn.Module) -> nn.Module:
    """Convert the 4-D weights of a network to channels_last, the layout in which convolutions run fastest.

    Returns:
        The same network.
    """
    return network.to(memory_format=torch.channels_last)


def runs_in_bf16(network: nn.Module, device: torch.device, precision: Precision) -> bool:
    """Check whether a network should run under bfloat16 autocast on a device.

    Args:
        network: the network; its layers decide under ``auto``.
        device: where it runs.
        precision: ``auto`` takes bfloat16 if it is faster; ``32`` and ``bf16`` force one.
    """
    if precision != "auto":
        check_choice("model.precision", precision, Precision)
        return precision == "bf16"
    if device.type == "cuda":
        return bool(gpu_has_bf16())
    return device.type == "cpu" and cpu_has_bf16() and not has_depthwise_convolution(network)


def suited_precision(network: nn.Module, device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Return the autocast in which a network should run on a device; arguments as `runs_in_bf16`.

    If the trainer's precision was set by hand, it takes precedence.
    """
    if torch.is_autocast_enabled(device.type):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16, enabled=runs_in_bf16(network, device, precision))


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def gpu_has_bf16() -> bool:
    """Check whether the GPU multiplies bfloat16."""
    return bool(torch.cuda.is_bf16_supported())


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def cpu_has_bf16() -> bool:
    """Check whether this CPU multiplies bfloat16 in hardware; emulated, it is slower than float32."""
    capabilities = cpu_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))  # Intel and AMD, Intel, ARM


def cpu_capabilities() -> Mapping[str, object]:
    """Return the CPU's capabilities from torch; empty if this torch cannot report them, and float32 is used then."""
    ask: Callable[[], Mapping[str, object]] | None = getattr(torch.cpu, "get_capabilities", None)
    return ask() if ask else {}


def has_depthwise_convolution(network: nn.Module) -> bool:
    """Check whether a network has depthwise convolutions, which are slower in bfloat16 than in float32 on CPUs."""
    return any(isinstance(m, nn.Conv2d) and m.groups == m.in_channels > 1 for m in network.modules())
