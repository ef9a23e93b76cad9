"""Serve a trained network: predictions for programs, and a page for people."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

from jsonargparse import Namespace

from bcc_lightning.argument_types import check_pixel_size
from bcc_lightning.cli.command import run_command
from bcc_lightning.cli.options import OptionParser, add_network_options, refuse_below, refuse_unnamed_network
from bcc_lightning.deployment.access import TOKEN_VARIABLE, Access
from bcc_lightning.deployment.limits import MEGABYTE, Limits

EXAMPLE = "--run house --port 8000"


def main(argv: list[str] | None = None) -> int:
    """Run ``python -m bcc_lightning.serve --run R --port 8000``.

    Args:
        argv: arguments without the program's name; by default those of the process.

    Returns:
        Exit code: 130 when stopped by Ctrl-C or a signal, 2 after an error that a person can mend.
    """
    return run_command(serve, argv)


def read_options(argv: list[str]) -> tuple[Namespace, Limits, Access]:
    """Read the options of a call: all of them, how much the server takes on, who may ask it.

    Raises:
        UserError: one is wrong.
    """
    usual = Limits()
    beyond = f"address to listen on; one that others reach needs a token in the environment variable {TOKEN_VARIABLE}"
    parser = OptionParser("serve", __doc__, EXAMPLE)
    parser.add_argument("--host", type=str, default="127.0.0.1", help=beyond)
    parser.add_argument("--port", type=int, default=8000, help="port to listen on; 0 takes any that is free")
    names = "host name under which a proxy on this machine offers the server (repeatable)"
    parser.add_argument("--allowed_host", action="append", default=[], metavar="NAME", help=names)
    size = "micrometres that a pixel of the images covers, for a run that was trained with --data.pixel_size"
    parser.add_argument("--pixel_size", type=float | None, default=None, metavar="SIZE", help=size)
    parser.add_argument("--batch_size", type=int | None, default=None, help="images at once; by default as in the run")
    parser.add_argument("--max_body", type=float, default=usual.body / MEGABYTE, help="most megabytes of a request")
    parser.add_argument("--max_images", type=int, default=usual.images, help="most images of a request")
    parser.add_argument("--max_pixels", type=int, default=usual.pixels, help="most pixels of an image")
    parser.add_argument("--max_queue", type=int, default=usual.queue, help="most images that wait, of all requests")
    parser.add_argument("--max_seconds", type=float, default=usual.seconds, help="after which a request is given up")
    add_network_options(parser)
    options = parser.read(argv)
    limits = Limits(
        int(options["max_body"] * MEGABYTE), options["max_images"], options["max_pixels"], options["max_queue"],
        options["max_seconds"],
    )  # fmt: skip
    if options["pixel_size"] is not None:
        check_pixel_size(options["pixel_size"], "--pixel_size")
    refuse_below(1, batch_size=options["batch_size"])
    access = Access.of(options["host"], options["allowed_host"], os.environ)
    refuse_unnamed_network(options)
    return options, limits, access


def serve(argv: list[str]) -> None:
    """Serve a trained network until it is stopped.

    Raises:
        UserError: something in the arguments, the environment or the run has to be mended.
        KeyboardInterrupt: it was stopped.
    """
    options, limits, access = read_options(argv)
    # Only now what takes seconds to load.
    from bcc_lightning.cli.networks import network_named
    from bcc_lightning.deployment.answering import Answering
    from bcc_lightning.deployment.model_facts import described
    from bcc_lightning.deployment.server import create_app, listen, run_server
    from bcc_lightning.prediction.classifier import TrainedClassifier
    from bcc_lightning.prediction.confusions import known_confusions
    from bcc_lightning.printable import printable

    with listen(options["host"], options["port"]) as opened:  # before seconds are spent on loading the network
        thread = ThreadPoolExecutor(1, thread_name_prefix="network")
        classifier = thread.submit(lambda: TrainedClassifier.of(network_named(options), options["pixel_size"])).result()
        confusion = known_confusions(classifier.network, classifier.class_names) if classifier.network else None
        if notice := classifier.size_notice():
            print(f"{notice} (--pixel_size)")
        answering = Answering(classifier, limits, confusion, options["batch_size"], thread)
        app = create_app(answering, access)
        host, port = opened.getsockname()[:2]
        address = f"[{host}]" if ":" in host else host
        print(printable(f"http://{address}:{port} · {described(classifier)} · Ctrl-C stops"), flush=True)
        run_server(app, opened, limits.seconds)


if __name__ == "__main__":
    sys.exit(main())
