"""Speed of a server at several numbers of clients, beside `TrainedClassifier.predict` on the same images.

The server is a process of its own, as the command starts it; the clients are threads of this one, each with one connection that
it keeps. Both share the cores of the machine. Times are from the first byte of a request to the last of its answer.

    python benchmarks/serve_speed.py --run house --folder cells/
"""

import argparse
import http.client
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import requests

from bcc_lightning.cli.command import quieten
from bcc_lightning.datasets.decoding import SUFFIXES
from bcc_lightning.prediction.classifier import TrainedClassifier
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.tracking.trained_networks import find_network


@contextmanager
def server(options: argparse.Namespace) -> Iterator[int]:
    """Start the command while the context is open; yields its port."""
    named = ["--run", options.run, *(["--tracking.folder", options.tracking] if options.tracking else [])]
    command = [sys.executable, "-m", "bcc_lightning.serve", *named, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline() if process.stdout else ""
        try:
            found = re.match(r"http://[^ ]*:(\d+) ", line)
            if found is None:
                raise SystemExit(f"the server did not start: {line}")
            yield int(found[1])
        finally:
            process.terminate()


def bodies(files: list[Path], per_request: int) -> list[tuple[bytes, str]]:
    """Write the requests: body and content type of each."""
    found = []
    for start in range(0, len(files) - per_request + 1, per_request):
        named = [("files", (file.name, file.read_bytes())) for file in files[start : start + per_request]]
        request = requests.Request("POST", "http://127.0.0.1/", files=named).prepare()
        if isinstance(request.body, bytes):
            found.append((request.body, request.headers["Content-Type"]))
    return found


def client(port: int, wanted: list[tuple[bytes, str]]) -> list[float]:
    """Send requests one after another; returns the seconds of each."""
    seconds, connection = [], http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for body, kind in wanted:
        start = time.perf_counter()
        connection.request("POST", "/predict", body, {"Content-Type": kind})
        response = connection.getresponse()
        response.read()
        seconds.append(time.perf_counter() - start)
        if response.status != http.client.OK:
            raise SystemExit(f"status {response.status}")
    connection.close()
    return seconds


def measure(port: int, clients: int, requests_each: list[list[tuple[bytes, str]]]) -> tuple[float, list[float]]:
    """Let clients ask at once; returns the seconds of all and of each request."""
    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        found = list(pool.map(lambda wanted: client(port, wanted), requests_each))
    return time.perf_counter() - start, [one for seconds in found for one in seconds]


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, help="as for `serve`")
    parser.add_argument("--tracking", help="folder where runs are kept")
    parser.add_argument("--folder", type=Path, required=True, help="folder of images, searched through")
    parser.add_argument("--images", type=int, default=640, help="images of a measurement")
    parser.add_argument("--per-request", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    options = parser.parse_args()
    quieten()
    found = sorted(file for file in options.folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    files = list(islice(cycle(found), options.images))
    tracking = Tracking(**({"folder": options.tracking} if options.tracking else {}))
    classifier = TrainedClassifier.of(find_network(tracking, options.run, folds=True))
    classifier.predict(files[: classifier.batch_size])
    start = time.perf_counter()
    classifier.predict(files)
    print(f"predict: {len(files) / (time.perf_counter() - start):.0f} images/s, batches of {classifier.batch_size}\n")
    print("| images per request | clients | requests/s | images/s | median, ms | p95, ms |\n|---|---|---|---|---|---|")
    with server(options) as port:
        for per_request in options.per_request:
            wanted = bodies(files, per_request)
            client(port, wanted[:5])
            for clients in options.clients:
                shares = [wanted[place::clients] for place in range(clients)]
                total, seconds = measure(port, clients, shares)
                median, late = 1000 * np.quantile(seconds, [0.5, 0.95])
                rate = len(seconds) / total
                row = (per_request, clients, f"{rate:.1f}", f"{rate * per_request:.0f}", f"{median:.0f}", f"{late:.0f}")
                print(f"| {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main()
