"""Stub trials find the project and their ledger."""

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def stub_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_LEDGER", str(tmp_path / "ledger"))
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))
