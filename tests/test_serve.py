"""The command: what stops it before it serves, what it prints, and how it ends."""

import os
import re
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import requests
import torch

import bcc_lightning as bcc
from bcc_lightning.deployment.access import TOKEN_VARIABLE
from bcc_lightning.modules.checkpoint import save_classifier
from bcc_lightning.prediction.classifier import TrainedClassifier
from bcc_lightning.serve import main
from tests.deployment.serving import encoded, picture


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    file = tmp_path / "best.ckpt"
    save_classifier(bcc.PlainCNN(class_names=["a", "b"], image_size=32), file)
    return file


def test_a_port_in_use(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["--checkpoint", str(checkpoint), "--port", str(port)]) == 2
    assert capsys.readouterr().err == (
        f"error: port {port} of 127.0.0.1 cannot be opened: it is in use; stop the program that uses it, or name another, "
        f"e.g. --port {port + 1}\n"
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--host", "0.0.0.0", "--port", "0"], "--host 0.0.0.0 lets others than this machine ask, so a token is required"),
        (["--allowed_host", "cells.example"], "--allowed_host cells.example lets others than this machine ask"),
        (["--port", "70000"], "--port is 70000; it must be from 0, any free port, to 65535"),
        (["--port", "none"], "port"),
        (["--max_body", "0"], "--max_body is 0; it must be above 0"),
        (["--max_queue", "3"], "--max_queue is 3, but one request may have 256 images"),
        (["--batch_size", "0"], "--batch_size is 0, it must be 1 or more"),
        (["--run", "missing"], "this command takes one"),
        (["--colour", "red"], "colour"),
    ],
)
def test_what_stops_it_before_it_serves(
    flags: list[str], message: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if flags[0] == "--run":
        flags = ["--checkpoint", str(checkpoint)]
    assert main(["--port", "0", "--checkpoint", str(checkpoint), *flags]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_no_network_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--port", "0"]) == 2
    assert "name a trained network with --run R" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_requests_that_have_begun_are_answered_before_it_stops(
    number: signal.Signals, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gate, calls, classify = threading.Event(), [0], TrainedClassifier.classify

    def slow(self: TrainedClassifier, pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
        calls[0] += 1
        if calls[0] > 1:  # the first is the server's own
            assert gate.wait(30)
        return classify(self, pixels)

    monkeypatch.setattr(TrainedClassifier, "classify", slow)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"

    def use() -> requests.Response:
        """Ask for a prediction, stop the server while it is computed, and return the answer."""
        with requests.Session() as session, ThreadPoolExecutor(1) as pool:
            session.trust_env = False
            wait_for(port)
            asked = pool.submit(session.post, f"{url}/predict", files={"files": encoded(picture("red"))}, timeout=30)
            until = time.monotonic() + 20
            while calls[0] < 2:
                assert time.monotonic() < until
                time.sleep(0.01)
            os.kill(os.getpid(), number)
            time.sleep(0.3)  # so that the signal arrives while the request waits
            assert not asked.done()
            gate.set()
            return asked.result()

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(use)
        assert main(["--checkpoint", str(checkpoint), "--port", str(port)]) == 130
        response = asked.result()
    assert response.status_code == 200
    assert response.json()[0]["predicted"] in {"a", "b"}
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    printed = capsys.readouterr()
    assert re.fullmatch(rf"http://127\.0\.0\.1:{port} · best\.ckpt: its accuracy is not known · Ctrl-C stops\n", printed.out)
    assert printed.err == ""


def wait_for(port: int) -> None:
    """Wait until somebody listens."""
    until = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.02)
