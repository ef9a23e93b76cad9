"""Where a run came from: code, versions, device."""

import getpass
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

from bcc_lightning.architectures.acceleration import cpu_capabilities

PACKAGES = ("torch", "lightning", "timm", "torchmetrics", "albumentations", "mlflow", "grad-cam")


def provenance() -> dict[str, str]:
    """Collect the tags that every run carries."""
    from bcc_lightning import __version__

    tags = {f"version.{name}": version(name) for name in PACKAGES}
    tags |= {"version.python": platform.python_version(), "version.bcc_lightning": __version__}
    tags |= {"device": device_name(), "mlflow.user": getpass.getuser(), "mlflow.source.name": "python -m bcc_lightning.fit"}
    if commit := git_commit():
        tags["mlflow.source.git.commit"] = commit
    return tags


def device_name() -> str:
    """Name the accelerator, or the processor and its threads."""
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return f"CPU {cpu_capabilities().get('cpu_name', platform.machine())}, {torch.get_num_threads()} threads"


def git_commit() -> str | None:
    """Get the commit of the code, with ``-dirty`` behind it when files differ; None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
