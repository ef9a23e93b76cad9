"""What the processes of a search import: a worker that imports torch takes seconds to start, and its memory besides."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "torchmetrics", "lightning", "mlflow", "matplotlib", "pandas", "scipy"}


@pytest.mark.parametrize("module", ["worker", "driver", "channel", "executors.local", "executors.ray", "executors.slurm"])
def test_a_worker_starts_without_heavy_packages(module: str) -> None:
    code = f"import sys, bcc_lightning.tuning.{module}; print(*sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == []
