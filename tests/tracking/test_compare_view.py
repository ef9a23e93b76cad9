"""What a researcher sees in a browser: the page that a run prints, two runs side by side, and the page of one of them.

The runs are made by the program itself and shown by MLflow's own server; nothing is stubbed. The browser is the system's
Chromium. Where there is none the tests are skipped, in CI they fail.
"""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout, suppress
from io import BytesIO, StringIO
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image
from playwright.sync_api import Browser, Locator, Page

from bcc_lightning.fit import main
from bcc_lightning.tracking.run_files import Summary, read_summary
from tests.browser import chromium
from tests.datamodules.miniatures import write_folder

# Where tests are spread over processes, one of them makes the runs for all (pytest -n 2 --dist loadgroup).
pytestmark = [pytest.mark.xdist_group("compare_view"), pytest.mark.slow]

START_SECONDS = 60
PAGE_SECONDS = 60

SMALL_RUN = [
    *("--exp", "efficientnet_b0", "--model.pretrained", "false"),
    *("--data", "SyntheticSmear", "--data.image_size", "32", "--data.batch_size", "32"),
    *("--data.train_cells", "64", "--data.val_cells", "32", "--data.test_cells", "64"),
    *("--trainer.max_epochs", "2", "--trainer.enable_progress_bar", "false"),
]

# After two epochs both networks may guess one and the same class; their AUROC still tells one column from the other.
SHOWN_METRICS = ["test/accuracy", "test/auroc_macro"]
ROUNDING = 0.000501  # MLflow shows three decimals

# Rows of other tables, scrolled out of sight, may lie at the same height: what counts is what is on top there. Scrolling and
# looking are one step, so that a chart that is drawn late cannot move the row in between.
# The grids of names and of values scroll apart where there are many rows, so that the one is moved to where the other is.
TEXTS_BESIDE = """name => {
    name.scrollIntoView({block: "center"});
    const grids = [...document.querySelectorAll("main *")].filter(one => one.scrollHeight > one.clientHeight);
    const names = grids.filter(one => one.contains(name)).at(-1);
    for (const one of grids) if (one.scrollHeight === names.scrollHeight) one.scrollTop = names.scrollTop;
    const {right, top, bottom} = name.getBoundingClientRect(), middle = (top + bottom) / 2;
    const spans = [...document.querySelectorAll("main span")];
    const placed = spans.map(span => ({span, left: span.getBoundingClientRect().left}));
    const beside = placed.filter(({span, left}) => left > right && document.elementFromPoint(left + 1, middle) === span);
    return beside.sort((a, b) => a.left - b.left).map(({span}) => span.innerText);
}"""

LARGEST_RECIPE = 30
"""Parameters of a run at most; its whole configuration has about a hundred."""

MEASURED = 2
"""Seed of the run whose machine is measured."""

MAPS = "explain/gradcam.png"
FEWEST_COLOURS = 1000  # an empty frame or a message has some dozens, a sheet of maps tens of thousands


def surroundings() -> dict[str, str]:
    """Give the environment of a child process, without what would file runs elsewhere or send usage data."""
    kept = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return {**kept, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


def make_run(store: Path, seed: int) -> tuple[Summary, str]:
    """Train, test, explain and file a run by the program; read its summary and what it printed."""
    target, clinic = store.parent / f"seed_{seed}.json", store.parent / "clinic"
    write_folder(clinic, ("lymphocyte", "neutrophil"), per_class=4, seed=8)
    own = ["--tracking.folder", str(store), "--seed_everything", str(seed), "--summary", str(target)]
    further = ["--data.test_on", f"[{clinic}]", "--tracking.system_metrics", "true" if seed == MEASURED else "false"]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as printed:
        patch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.5")
        patch.setenv("BCC_CACHE_DIR", str(store.parent / "cache"))
        assert main([*SMALL_RUN, *own, *further]) == 0
    return read_summary(target), printed.getvalue()


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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


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
def made(store: Path) -> list[tuple[Summary, str]]:
    return [make_run(store, seed) for seed in (1, MEASURED)]


@pytest.fixture(scope="module")
def runs(made: list[tuple[Summary, str]]) -> list[Summary]:
    return [summary for summary, _ in made]


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


def test_compare_view_shows_the_metrics_of_both_runs(
    page: Page, server: str, store: Path, runs: list[Summary], experiment: str
) -> None:
    page.goto(compare_address(server, runs, experiment))
    assert shown_runs(page) == [run.run_id for run in runs]
    known = MlflowClient(f"sqlite:///{store / 'mlflow.db'}")
    for metric in SHOWN_METRICS:
        page.reload()  # a grid that has been scrolled draws only the rows around
        filed = [known.get_run(run.run_id).data.metrics[metric] for run in runs]
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


def printed_page(made: list[tuple[Summary, str]]) -> str:
    """Find the page that the first run has printed, below the address of the server."""
    address = re.search(r"then open http://127\.0\.0\.1:5000(\S+)", made[0][1])
    assert address is not None
    return address[1]


@pytest.fixture(scope="module")
def landing(browser: Browser, server: str, made: list[tuple[Summary, str]]) -> Iterator[Page]:
    """The page that a run prints, opened and not clicked on."""
    page = browser.new_page(viewport={"width": 1920, "height": 1000})
    page.set_default_timeout(PAGE_SECONDS * 1000)
    page.goto(server + printed_page(made))
    page.locator(".ag-header-cell[col-id='metrics.`seconds`']").wait_for()
    yield page
    page.close()


def cells(landing: Page, column: str) -> list[str]:
    """Read a column from the top, where the newest run is."""
    found = landing.locator(f'.ag-cell[col-id="{column}"]')
    found.first.wait_for()
    return [" ".join(text.split()) for text in found.all_inner_texts()]


def test_landing_page_names_the_runs_and_compared_runs_differ(landing: Page) -> None:
    names = cells(landing, "attributes.`Run Name`")
    assert [name.partition(" ")[2] for name in names] == [  # behind the colour of the run
        f"efficientnet_b0 SyntheticSmear 32px seed{seed} pretrained=false batch_size=32 train_cells=64 val_cells=32"
        for seed in (2, 1)
    ]


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        ("metrics.`test/accuracy`", lambda run: f"{run.metrics['test/accuracy']:g}"),
        ("tags.`interval`", lambda run: "{:.4f} to {:.4f}".format(*run.intervals["test/accuracy"])),
        ("tags.`balanced accuracy elsewhere`", lambda run: f"clinic {run.metrics['test_on/clinic/recall_macro']:.4f}"),
        ("tags.`data.resolution`", lambda run: "32 native"),
        ("tags.`pretrained`", lambda run: "no"),
        ("metrics.`seconds`", lambda run: f"{run.seconds['total']:.1f}".removesuffix(".0")),
    ],
)
def test_landing_page_shows_the_column(landing: Page, runs: list[Summary], column: str, shown: Callable[[Summary], str]) -> None:
    assert cells(landing, column) == [shown(run) for run in reversed(runs)]


def test_landing_page_shows_the_data_set_as_an_entity_of_its_own(landing: Page, runs: list[Summary]) -> None:
    digest = runs[0].data["data.sha256"][:12]
    for text in cells(landing, "attributes.`Dataset`"):
        assert re.fullmatch(rf"SyntheticSmear \({digest}\) Training , clinic \(\w{{12}}\) Testing … \+1", text)


def test_run_page_shows_a_card_and_what_was_decided(page: Page, server: str, runs: list[Summary], experiment: str) -> None:
    page.goto(f"{server}/#/experiments/{experiment}/runs/{runs[0].run_id}")
    card = page.get_by_text("Balanced accuracy on further sets")
    card.wait_for()
    lines = card.locator("xpath=ancestor::ul").inner_text().splitlines()
    assert lines[1:3] == ["Cells: 64 train, 32 val, 64 test", "Pixels: 32 native"]
    heading = page.get_by_text(re.compile(r"^Parameters \(\d+\)$")).inner_text()
    assert int(re.sub(r"\D", "", heading)) < LARGEST_RECIPE


def test_charts_open_on_curves(page: Page, server: str, made: list[tuple[Summary, str]]) -> None:
    page.goto(f"{server}{printed_page(made)}&compareRunsMode=CHART")
    section = page.locator("main").get_by_text(re.compile(r"^(train|val|test)$"))
    section.nth(2).wait_for()
    assert section.all_inner_texts() == ["val", "train", "test"]


def test_system_metrics_are_there_for_the_run_that_chose_them(
    page: Page, server: str, runs: list[Summary], experiment: str, store: Path
) -> None:
    page.goto(f"{server}/#/experiments/{experiment}/runs/{runs[1].run_id}/system-metrics")
    page.get_by_text("cpu_utilization_percentage").first.wait_for()
    other = MlflowClient(f"sqlite:///{store / 'mlflow.db'}").get_run(runs[0].run_id)
    assert not any(name.startswith("system/") for name in other.data.metrics)
