"""The server: its paths, and how it starts and stops."""

import asyncio
import base64
import errno
import hashlib
import re
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Annotated, Any, NoReturn

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from bcc_lightning import __version__
from bcc_lightning.deployment.access import Access
from bcc_lightning.deployment.answering import Answering, Sent
from bcc_lightning.deployment.limits import Guard
from bcc_lightning.deployment.model_facts import model_facts
from bcc_lightning.errors import UserError
from bcc_lightning.pages.rendering import page_template
from bcc_lightning.processes import STOPPING

PACKAGE = "bcc_lightning.deployment"

MULTIPART = "multipart/form-data"

FIELD = "files"

MOST_CELLS = 100_000_000

FORM = {
    "requestBody": {
        "required": True,
        "content": {
            MULTIPART: {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {FIELD: {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            }
        },
    }
}
"""The body of ``/predict`` as OpenAPI describes it; it is read by hand, since FastAPI would take any number of files."""


class Counts(BaseModel):
    """Counted cells.

    Attributes:
        counts: class to number of cells; classes may be missing.
        of: classes that make up the 100 %; all by default.
    """

    counts: dict[str, Annotated[int, Field(ge=0, le=MOST_CELLS)]]
    of: list[str] | None = None


def create_app(answering: Answering, access: Access | None = None) -> FastAPI:
    """Create the application.

    Args:
        answering: answers what is asked.
        access: who may ask; by default everybody on this machine.
    """

    @asynccontextmanager
    async def threads(app: FastAPI) -> AsyncIterator[None]:
        """Run the threads while the server runs."""
        answering.start()
        yield
        await asyncio.to_thread(answering.stop)

    facts, limits = model_facts(answering.classifier), answering.limits
    # FastAPI's own pages of documentation load their scripts from a content delivery network, which hospitals do not reach.
    app = FastAPI(
        title="bcc_lightning", version=__version__, docs_url=None, redoc_url=None, lifespan=threads,
        description=f"Classifies images of single blood cells. {facts['intended_use']}",
    )  # fmt: skip
    app.add_middleware(Guard, limits=limits, access=access or Access())
    page, policy = page_and_policy()

    @app.exception_handler(UserError)
    async def refused(request: Request, error: UserError) -> JSONResponse:
        """Explain what is wrong with a request."""
        return JSONResponse({"detail": str(error)}, 422)

    @app.get("/", include_in_schema=False)
    async def show_page() -> HTMLResponse:
        """Return the page for people."""
        return HTMLResponse(page, headers={"Content-Security-Policy": policy})

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        """Return the description of all paths for people."""
        text = page_template(PACKAGE, "reference.html.jinja").render(api=app.openapi(), limits=limits)
        return HTMLResponse(text, headers={"Content-Security-Policy": f"{NOTHING_ELSE}; style-src '{hash_of(text, 'style')}'"})

    @app.get("/health")
    async def health() -> JSONResponse:
        """Report whether the network can answer, 200 or 503, and how many images wait."""
        working = answering.batches.is_working
        body = {"status": "ok" if working else "failed", "images_waiting": answering.batches.admitted}
        return JSONResponse(body, 200 if working else 503)

    @app.get("/model")
    async def model() -> dict[str, Any]:
        """Describe the network: classes, run, data, figures of its test, intended use, limitations, and limits of requests."""
        sizes = {name: getattr(limits, name) for name in ("body", "images", "pixels", "maps", "seconds")}
        return {**facts, "limits": sizes, "corrects_confusions": answering.confusion is not None}

    @app.post("/predict", openapi_extra=FORM, response_model=None)
    async def predict(request: Request, map: bool = False) -> JSONResponse:
        """Classify images of single cells, sent in the field `files`.

        An image that cannot be read has an `error`; the status is 422 only if none could be read. With `map=true` each answer
        also has `image`, as the network reads it, and `map`, where it looked for its class: PNG files in URIs.
        """
        images = await images_of(request, limits.maps if map else limits.images)
        answers = await answering.answer(images, map)
        return JSONResponse(answers, 200 if any(answer["error"] is None for answer in answers) else 422)

    @app.post("/differential")
    async def differential(counted: Counts) -> list[dict[str, Any]]:
        """Compute the differential of counted cells.

        Shares come with exact binomial 95 % limits (Clopper and Pearson; Rümke's table), and corrected for the confusions that
        are known from the network's validation set, where there is one.
        """
        return await answering.count(counted.counts, counted.of)

    return app


async def images_of(request: Request, most: int) -> list[Sent]:
    """Read the images of a request.

    Args:
        request: the request.
        most: most images that it may have.

    Raises:
        HTTPException: it holds something else, or too many.
    """
    kind = request.headers.get("content-type", "nothing").partition(";")[0].strip().lower()
    wanted = f"send images as {MULTIPART} in the field '{FIELD}', e.g. curl -F {FIELD}=@cell.png"
    if kind != MULTIPART:
        raise HTTPException(415, f"the request holds {kind[:100]}; {wanted}")
    try:
        form = await request.form(max_files=most, max_fields=16)
    except HTTPException as error:
        if error.status_code != 400:  # noqa: PLR2004 - others come from the guard
            raise
        if "Too many files" in str(error.detail):
            many = f"the request has more than {most} images, as many as are allowed here; send them in several requests"
            raise HTTPException(413, many) from error
        raise HTTPException(400, f"the request is damaged ({error.detail}); {wanted}") from error
    try:
        sent = [one for one in form.getlist(FIELD) if isinstance(one, UploadFile)]
        if not sent:
            fields = ", ".join(dict.fromkeys(form))[:100] or "none"
            raise HTTPException(422, f"the request has no image in the field '{FIELD}' (its fields: {fields}); {wanted}")
        return [Sent(one.filename or "", await one.read()) for one in sent]
    finally:
        await form.close()


SCRIPTS = ("network", "classifying", "cells", "differential", "start")
"""Parts of the page's script in their order; the last one starts it."""

NOTHING_ELSE = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def page_and_policy() -> tuple[str, str]:
    """Return the page for people, and its policy: no script runs and nothing is loaded but what it contains itself."""
    folder = files(PACKAGE) / "page"
    page, style = ((folder / name).read_text(encoding="utf-8") for name in ("index.html", "style.css"))
    script = "\n".join((folder / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    page = page.replace("<style></style>", f"<style>{style}</style>").replace("<script></script>", f"<script>{script}</script>")
    own = f"script-src '{hash_of(page, 'script')}'; style-src '{hash_of(page, 'style')}'"
    return page, f"{NOTHING_ELSE}; {own}; img-src data: blob:; connect-src 'self'"


def hash_of(page: str, element: str) -> str:
    """Return the hash of the only script or style of a page, as a policy names it."""
    (content,) = re.findall(f"<{element}>(.*?)</{element}>", page, re.DOTALL)
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def listen(host: str, port: int) -> socket.socket:
    """Listen on an address; 0 takes any free port.

    Raises:
        UserError: the port is in use or not allowed, or the host is none of this machine's.
    """
    if not 0 <= port < 2**16:
        raise UserError(f"--port is {port}; it must be from 0, any free port, to {2**16 - 1}")
    try:
        family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(place[:2], family=family, backlog=2048)
    except socket.gaierror as error:
        raise UserError(f"--host {host} is not known ({error.strerror}); name an address of this machine") from error
    except OSError as error:
        next_steps = {
            errno.EADDRINUSE: f"it is in use; stop the program that uses it, or name another, e.g. --port {port + 1}",
            errno.EACCES: "this user may not use it; name one from 1024, e.g. --port 8000",
            errno.EADDRNOTAVAIL: "this machine does not have that address; name one that it has, or 0.0.0.0 for all",
        }
        reason = next_steps.get(error.errno or 0, f"{error.strerror or error}; name another with --host and --port")
        raise UserError(f"port {port} of {host} cannot be opened: {reason}") from error


def run_server(app: FastAPI, opened: socket.socket, seconds: float) -> NoReturn:
    """Answer requests until Ctrl-C, SIGTERM or SIGHUP; requests that have begun are answered first.

    Args:
        app: the application.
        opened: a socket that listens.
        seconds: for how long requests that have begun are waited for.

    Raises:
        KeyboardInterrupt: at the end, since only a signal stops it.
    """
    settings = uvicorn.Config(
        app, log_config=None, log_level="warning", access_log=False, server_header=False, lifespan="on", ws="none",
        timeout_graceful_shutdown=int(seconds) + 1,
    )  # fmt: skip
    server = uvicorn.Server(settings)
    handlers = {number: signal.getsignal(number) for number in STOPPING}
    for number, handler in handlers.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, server.handle_exit)  # uvicorn itself does not take over all of them
    try:
        server.run(sockets=[opened])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    raise KeyboardInterrupt
