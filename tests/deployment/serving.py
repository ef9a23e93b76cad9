"""A server in a thread of the test, with a network whose every answer is known beforehand."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import requests
import torch
import uvicorn
from PIL import Image

import bcc_lightning as bcc
from bcc_lightning.deployment.access import Access
from bcc_lightning.deployment.answering import Answering
from bcc_lightning.deployment.limits import Limits
from bcc_lightning.deployment.server import create_app, listen
from bcc_lightning.prediction.classifier import TrainedClassifier

NAMES = ["red", "green", "blue"]
COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}


class Colours(bcc.PlainCNN):
    """Tells red, green and blue images by their mean colour."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.float().mean(dim=(2, 3)) / 20


class Gated(TrainedClassifier):
    """Classifies only while its gate is open, apart from the first image at the start of the server."""

    def __init__(self) -> None:
        super().__init__(Colours(class_names=NAMES, image_size=32).eval())
        self.gate = threading.Event()
        self.fault: Exception | None = None
        self.calls = 0

    def classify(self, pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
        self.calls += 1
        if self.calls > 1:
            assert self.gate.wait(30)
        if self.fault and self.calls > 1:
            raise self.fault
        return super().classify(pixels)


def classifier() -> TrainedClassifier:
    return TrainedClassifier(Colours(class_names=NAMES, image_size=32).eval())


def picture(colour: str | tuple[int, int, int], size: tuple[int, int] = (40, 40)) -> npt.NDArray[np.uint8]:
    shade = COLOURS[colour] if isinstance(colour, str) else colour
    return np.broadcast_to(np.array(shade, np.uint8), (*size, 3)).copy()


def encoded(image: npt.NDArray[np.uint8], kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind)
    return stream.getvalue()


@dataclass
class Running:
    """A server that runs."""

    port: int
    answering: Answering

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False  # no proxy
            return session.request(method, self.url + path, timeout=30, **options)

    def predict(self, *files: tuple[str, bytes], query: str = "", **options: Any) -> requests.Response:
        return self.ask("POST", f"/predict{query}", files=[("files", file) for file in files], **options)


@contextmanager
def running(
    network: TrainedClassifier, limits: Limits | None = None, access: Access | None = None, **options: Any
) -> Iterator[Running]:
    """Run a server in a thread while the context is open."""
    answering = Answering(network, limits or Limits(), **options)
    with listen("127.0.0.1", 0) as opened:
        port = opened.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(create_app(answering, access), log_config=None, lifespan="on"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
        thread.start()
        try:
            yield Running(port, answering)
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()
