"""A server for single blood cells: images in, classes and a differential count out; a page for people at ``/``."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated, Any

import pandas as pd
from fastapi import Body, FastAPI, File, HTTPException, Request, Response, UploadFile
from fastapi.responses import HTMLResponse, JSONResponse

from bcc_lightning.deployment.batching import Batcher, Probabilities, QueueFullError
from bcc_lightning.differential.counting import Confusion, differential
from bcc_lightning.errors import UserError
from bcc_lightning.prediction.answers import Answer
from bcc_lightning.prediction.classifier import Pixels, TrainedClassifier
from bcc_lightning.prediction.confusions import known_confusions

INTENDED_USE = (
    "Research on single, cropped blood cells. Not for diagnosis. Figures of the run's own test set say nothing about other "
    "stains, cameras or laboratories: evaluate it on labelled cells of your own first."
)
LOOPBACK = {"127.0.0.1", "localhost", "::1", "[::1]"}
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; connect-src 'self'"
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
MOST_CELLS = 10**9
OPEN = {"/health", "/"}
"""Paths that need no token: the page asks for it."""


@dataclass(frozen=True)
class Limits:
    """What a request may cost.

    Args:
        max_body: bytes of a request.
        max_images: images of a request.
        max_waiting: images that wait for the network.
        timeout: seconds until a request is given up.
    """

    max_body: int = 64 * 2**20
    max_images: int = 256
    max_waiting: int = 4096
    timeout: float = 60.0


def make_app(
    classifier: TrainedClassifier, limits: Limits | None = None, token: str | None = None, loopback: bool = True
) -> FastAPI:
    """Build the server's application.

    Args:
        classifier: the network.
        limits: what a request may cost.
        token: what requests must present as ``Authorization: Bearer TOKEN``; None for none.
        loopback: whether it only answers this machine, under names of this machine.
    """
    limits = limits or Limits()
    facts = describe(classifier)
    confusion = known_confusions(classifier.network, classifier.class_names) if classifier.network else None
    batcher, readers = Batcher(classifier, limits.max_waiting), ThreadPoolExecutor(thread_name_prefix="decode")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        """Answer what waits before the server stops."""
        yield
        batcher.close()
        readers.shutdown()

    app = FastAPI(title="bcc_lightning", description=INTENDED_USE, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.batcher = batcher

    @app.middleware("http")
    async def guard(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        """Refuse what may not come in, before its body is read."""
        refused = refusal(request, limits, token, loopback)
        response = refused or await answer(request)
        response.headers.update(HEADERS)
        return response

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def page() -> str:
        """Return the page for people."""
        return (files("bcc_lightning.deployment") / "page.html").read_text(encoding="utf-8")

    @app.get("/health")
    def health() -> dict[str, str]:
        """Return whether the server is up."""
        return {"status": "ok"}

    @app.get("/model")
    def model() -> dict[str, Any]:
        """Describe the network: classes, run, data, figures, and what it is meant for."""
        return facts

    @app.post("/differential")
    def count(counts: Annotated[dict[str, int], Body()]) -> list[dict[str, Any]]:
        """Compute shares with exact limits, and corrected ones, from counts by class."""
        return count_cells(classifier.class_names, counts, confusion)

    @app.post("/predict")
    async def predict(files: Annotated[list[UploadFile], File()]) -> JSONResponse:
        """Classify images, sent as ``files``; one that cannot be read gets an error, the others are answered."""
        contents = [(file.filename or "", await file.read()) for file in files]
        return await answer_files(classifier, batcher, readers, limits, contents)

    return app


async def answer_files(
    classifier: TrainedClassifier, batcher: Batcher, readers: Executor, limits: Limits, contents: list[tuple[str, bytes]]
) -> JSONResponse:
    """Classify the files of a request: names and contents."""
    if len(contents) > limits.max_images:
        raise HTTPException(413, f"{len(contents)} images in one request; at most {limits.max_images} are taken, send parts")
    loop = asyncio.get_running_loop()
    images = await asyncio.gather(*(loop.run_in_executor(readers, read, classifier, content) for _, content in contents))
    readable = [image for image in images if not isinstance(image, str)]
    try:
        futures = [asyncio.wrap_future(future) for future in batcher.submit(readable)]
        answers = iter(await asyncio.wait_for(asyncio.gather(*futures), limits.timeout))
    except QueueFullError:
        return JSONResponse({"detail": "too many images wait; try again later"}, 503, {"Retry-After": "2"})
    except TimeoutError:
        raise HTTPException(504, f"no answer within {limits.timeout:g} seconds") from None
    names = classifier.class_names
    rows = [
        {"filename": name, "error": image} if isinstance(image, str) else {"filename": name, **row(names, next(answers))}
        for (name, _), image in zip(contents, images, strict=True)
    ]
    return JSONResponse(rows, 200 if readable else 422)


def count_cells(names: list[str], counts: dict[str, int], confusion: Confusion | None) -> list[dict[str, Any]]:
    """Compute the differential of counts by class; what is not known is null."""
    if set(counts) - set(names) or any(value < 0 or value > MOST_CELLS for value in counts.values()):
        raise HTTPException(422, f"counts are whole numbers from 0 of the classes {', '.join(names)}")
    table = pd.DataFrame([[counts.get(name, 0) for name in names]], ["cells"], names)
    found = differential(table, confusion).drop(columns="slide").astype(object)
    return [{str(key): value for key, value in one.items()} for one in found.where(found.notna(), None).to_dict("records")]


def refusal(request: Request, limits: Limits, token: str | None, loopback: bool) -> Response | None:
    """Return the answer to a request that may not come in, or None.

    A page of another site can send requests to this machine, under a name of its own: both are refused on loopback.
    """
    host = request.headers.get("host", "")
    origin = request.headers.get("origin")
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if loopback and host.rsplit(":", 1)[0] not in LOOPBACK:
        return JSONResponse({"detail": f"this server answers this machine only, not {host}"}, 421)
    if origin and origin.partition("://")[2] != host:
        return JSONResponse({"detail": "requests of other sites are refused"}, 403)
    if token and request.url.path not in OPEN and not secrets.compare_digest(given.encode(), token.encode()):
        return JSONResponse({"detail": "a token is needed: Authorization: Bearer TOKEN"}, 401, {"WWW-Authenticate": "Bearer"})
    return oversized(request, limits) if request.method == "POST" else None


def oversized(request: Request, limits: Limits) -> Response | None:
    """Return the answer to a request that is too large, or does not say how large it is, or None."""
    length = request.headers.get("content-length", "")
    if not length.isdigit():
        return JSONResponse({"detail": "the length of the request is missing (Content-Length)"}, 411)
    if int(length) > limits.max_body:
        return JSONResponse({"detail": f"{int(length):,} bytes; at most {limits.max_body:,} are taken, send parts"}, 413)
    return None


def read(classifier: TrainedClassifier, content: bytes) -> Pixels | str:
    """Read an image, or say why it cannot be read."""
    try:
        return classifier.square(content)
    except UserError as error:
        return str(error)


def row(names: list[str], probabilities: Probabilities) -> dict[str, Any]:
    """Lay out the answer for one image: its class, and the (C,) probabilities."""
    answer = Answer("", probabilities)
    first, second = answer.best_two
    return {
        "predicted": names[answer.label],
        "probability": float(first),
        "probabilities": dict(zip(names, map(float, probabilities), strict=True)),
        "margin": float(first - second),
        "error": None,
    }


def describe(classifier: TrainedClassifier) -> dict[str, Any]:
    """Describe a network for programs and people."""
    network = classifier.network
    summary = network.summary if network else None
    metrics = summary.metrics if summary else {}
    return {
        "classes": classifier.class_names,
        "network": network.title if network else type(classifier.module).__name__,
        "run_id": network.run_id if network else None,
        "data": network.facts.get("data.name") if network else None,
        "data_sha256": network.facts.get("data.sha256") if network else None,
        "resolution": network.facts.get("data.resolution") if network else None,
        "accuracy": metrics.get("test/accuracy"),
        "accuracy_interval": summary.intervals.get("test/accuracy") if summary else None,
        "most_frequent": metrics.get("test/most_frequent"),
        "intended_use": INTENDED_USE,
    }
