"""What a researcher sees in a browser: two finished runs side by side, and the class activation maps of one of them.

The runs are made by the program itself and shown by MLflow's own server; nothing is stubbed. The browser is the system's
Chromium. Where there is none the tests are skipped, in CI they fail.
"""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from bcc_lightning.fit import main
from bcc_lightning.tracking.run_files import Summary, read_summary

# Where tests are spread over processes, one of them makes the runs for all (pytest -n 2 --dist loadgroup).
pytestmark = [pytest.mark.xdist_group("compare_view"), pytest.mark.slow]

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_FLAGS = [
    "--no-sandbox",  # containers run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

START_SECONDS = 60
PAGE_SECONDS = 60

SMALL_RUN = [
    *("--exp", "efficientnet_b0", "--model.pretrained", "false"),
    *("--data", "SyntheticSmear", "--data.image_size", "32", "--data.batch_size", "32"),
    *("--data.train_cells", "64", "--data.val_cells", "32", "--data.test_cells", "64"),
    *("--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false"),
]

# After one epoch both networks may guess one and the same class; their AUROC still tells one column from the other.
SHOWN_METRICS = ["test/accuracy", "test/auroc_macro"]
ROUNDING = 0.000501  # MLflow shows three decimals

# Rows of other tables, scrolled out of sight, may lie at the same height: what counts is what is on top there. Scrolling and
# looking are one step, so that a chart that is drawn late cannot move the row in between.
TEXTS_BESIDE = """name => {
    name.scrollIntoView({block: "center"});
    const {right, top, bottom} = name.getBoundingClientRect(), middle = (top + bottom) / 2;
    const spans = [...document.querySelectorAll("main span")];
    const placed = spans.map(span => ({span, left: span.getBoundingClientRect().left}));
    const beside = placed.filter(({span, left}) => left > right && document.elementFromPoint(left + 1, middle) === span);
    return beside.sort((a, b) => a.left - b.left).map(({span}) => span.innerText);
}"""

MAPS = "explain/gradcam.png"
FEWEST_COLOURS = 1000  # an empty frame or a message has some dozens, a sheet of maps tens of thousands


def surroundings() -> dict[str, str]:
    """Give the environment of a child process, without what would file runs elsewhere or send usage data."""
    kept = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return {**kept, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


def make_run(store: Path, seed: int) -> Summary:
    """Train, test, explain and file a run by the program, and read its summary."""
    target = store.parent / f"seed_{seed}.json"
    own = ["--tracking.folder", str(store), "--seed_everything", str(seed), "--summary", str(target)]
    assert main([*SMALL_RUN, *own]) == 0
    return read_summary(target)


def free_port() -> int:
    """Find a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_healthy(port: int) -> bool:
    """Ask the server whether it is ready; unlike urllib, this never goes through a proxy."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def wait_until_healthy(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait for the server, and no longer than it lives."""
    deadline = time.monotonic() + START_SECONDS
    while not is_healthy(port):
        assert server.poll() is None, f"the server ended by itself:\n{log.read_text()}"
        assert time.monotonic() < deadline, f"the server is not ready after {START_SECONDS} s:\n{log.read_text()}"
        time.sleep(0.2)


def stop(server: subprocess.Popen[bytes]) -> None:
    """End the server and its worker, a process of its own in the server's group, which may outlive the server."""
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            server.wait(timeout=15)
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def find_browser() -> str:
    """Find the system's Chromium; without it skip, in CI fail."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found:
        return found
    missing = f"no Chromium on this machine (looked for {', '.join(BROWSERS)}): apt-get install chromium"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = find_browser()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=BROWSER_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    # The text of the metrics is read where it stands on the screen, so the window has the size of a common one.
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(PAGE_SECONDS * 1000)
    yield page
    page.close()


@pytest.fixture(scope="module")
def store(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Path:  # without a browser no run is made
    return tmp_path_factory.mktemp("compare_view") / "store"


@pytest.fixture(scope="module")
def runs(store: Path) -> list[Summary]:
    return [make_run(store, seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def server(store: Path, runs: list[Summary]) -> Iterator[str]:
    port, log = free_port(), store.parent / "server.log"
    address = ["--host", "127.0.0.1", "--port", str(port), "--backend-store-uri", f"sqlite:///{store / 'mlflow.db'}"]
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", *address]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=store.parent, env=surroundings(), stdout=output, stderr=output, start_new_session=True
        )
    try:
        wait_until_healthy(process, port, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        stop(process)


@pytest.fixture(scope="module")
def experiment(store: Path, runs: list[Summary]) -> str:
    return str(MlflowClient(f"sqlite:///{store / 'mlflow.db'}").get_run(runs[0].run_id).info.experiment_id)


def compare_address(server: str, runs: list[Summary], experiment: str) -> str:
    """Word the address that MLflow's own button "Compare" leads to."""
    ids, experiments = json.dumps([run.run_id for run in runs]), json.dumps([experiment])
    return f"{server}/#/compare-runs?runs={quote(ids)}&experiments={quote(experiments)}"


def shown_runs(page: Page) -> list[str]:
    """Read the run ids that head the columns, from left to right."""
    heads = page.locator("main a").filter(has_text=re.compile(r"^[0-9a-f]{32}$"))
    heads.first.wait_for()
    return heads.all_inner_texts()


def shown_row(page: Page, metric: str) -> list[float]:
    """Read the values that stand to the right of a metric's name on the screen, from left to right.

    MLflow draws names and values as two grids of free-floating boxes, so only their height ties them together.
    """
    texts: list[str] = page.locator("main").get_by_text(metric, exact=True).evaluate(TEXTS_BESIDE)
    return [float(text) for text in texts]


def distinct_colours(element: Locator) -> int:
    """Count the colours of an element as the browser has drawn it."""
    drawn = np.asarray(Image.open(BytesIO(element.screenshot())).convert("RGB"))
    return len(np.unique(drawn.reshape(-1, 3), axis=0))


def test_compare_view_shows_the_metrics_of_both_runs(page: Page, server: str, runs: list[Summary], experiment: str) -> None:
    page.goto(compare_address(server, runs, experiment))
    assert shown_runs(page) == [run.run_id for run in runs]
    for metric in SHOWN_METRICS:
        filed = [run.metrics[metric] for run in runs]
        assert shown_row(page, metric) == pytest.approx(filed, rel=0, abs=ROUNDING), metric


def test_artifact_page_draws_the_maps(page: Page, server: str, store: Path, runs: list[Summary], experiment: str) -> None:
    page.goto(f"{server}/#/experiments/{experiment}/runs/{runs[0].run_id}/artifacts/{MAPS}")
    image = page.get_by_alt_text(MAPS, exact=True)
    image.wait_for()
    # A broken file would show MLflow's own message or an empty frame: the browser has to decode and to draw it.
    image.evaluate("image => image.decode()")
    filed = store / "artifacts" / runs[0].run_id / "artifacts" / MAPS
    assert image.evaluate("image => [image.naturalWidth, image.naturalHeight]") == list(Image.open(filed).size)
    assert distinct_colours(image) > FEWEST_COLOURS
