"""Serve a trained network: an interface for programs and a page for people."""

import os
import sys
from typing import TYPE_CHECKING

from bcc_lightning.cli.command import run_command
from bcc_lightning.errors import UserError

if TYPE_CHECKING:
    from bcc_lightning.cli.parser import ExperimentParser

TOKEN_VARIABLE = "BCC_SERVE_TOKEN"  # noqa: S105 - the name of the variable
"""Environment variable with the token that requests must present."""


def main(argv: list[str] | None = None) -> int:
    """Run ``python -m bcc_lightning.serve --run R --port 8000``.

    Args:
        argv: arguments without the program's name; by default those of the process.

    Returns:
        Exit code: 130 when it was stopped by Ctrl-C or a signal, 2 after an error that a person can mend.
    """
    return run_command(serve, argv)


def declare(parser: "ExperimentParser") -> None:
    """Declare the options of the command."""
    parser.add_argument("--host", type=str, default="127.0.0.1", help=f"address; others than loopback need {TOKEN_VARIABLE}")
    parser.add_argument("--port", type=int, default=8000, help="port")
    parser.add_argument("--max_body", type=int, default=64 * 2**20, help="largest request in bytes")
    parser.add_argument("--max_images", type=int, default=256, help="most images of a request")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds until a request is given up")


def serve(argv: list[str]) -> None:
    """Serve a trained network until it is stopped.

    Raises:
        UserError: something in the arguments or the run has to be mended, the port is in use, or a token is missing.
    """
    import socket

    import uvicorn

    from bcc_lightning.cli.networks import network_named, network_parser, read_options
    from bcc_lightning.deployment.server import LOOPBACK, Limits, make_app
    from bcc_lightning.prediction.classifier import TrainedClassifier
    from bcc_lightning.printable import printable

    options = read_options(network_parser("serve", declare), argv)
    host, port, token = options["host"], options["port"], os.environ.get(TOKEN_VARIABLE)
    loopback = host in LOOPBACK
    if not loopback and not token:
        raise UserError(f"--host {host} lets other machines in: set {TOKEN_VARIABLE} to a secret that they must present")
    network = network_named(options)
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        raise UserError(f"--host {host} --port {port} cannot be used ({error}); name another with --port N") from error
    limits = Limits(options["max_body"], options["max_images"], timeout=options["timeout"])
    app = make_app(TrainedClassifier.of(network), limits, token, loopback)
    accuracy = (network.summary.metrics.get("test/accuracy") if network.summary else None) or float("nan")
    where = f"http://{host}:{listener.getsockname()[1]}/"
    print(
        printable(f"{where} serves {network.title}, test accuracy {accuracy:.4f} on its own cells; Ctrl-C stops it"), flush=True
    )
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=10))
    server.run(sockets=[listener])


if __name__ == "__main__":
    sys.exit(main())
