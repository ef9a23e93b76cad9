"""What is added to a finished run: it stays finished, the newest figures count, and files on a server are not stale."""

from pathlib import Path

import pytest

from bcc_lightning.errors import UserError
from bcc_lightning.safe_names import file_name
from bcc_lightning.tracking.additions import add_to_run, forget
from bcc_lightning.tracking.finished_runs import FinishedRun, find_run
from bcc_lightning.tracking.settings import Tracking
from tests.miniature import add_run
from tests.tracking.test_tracking_server import free_port, server

PAGE = f"evaluation/{file_name('clinic #7')}.html"


def add(run: FinishedRun, text: str, accuracy: float) -> None:
    Path("local.txt").write_text(text)
    add_to_run(run, {PAGE: Path("local.txt")}, {"test_on/clinic #7/accuracy": accuracy})


def check_additions(tracking: Tracking) -> None:
    run = find_run(tracking, add_run(tracking, "house"))
    run.client.log_metric(run.run_id, "test_on/clinic :number-sign:7/accuracy", 0.1, step=400)  # as the training logged it
    assert not run.has(PAGE)
    for text, accuracy in (("first", 0.25), ("second", 0.5)):
        add(run, text, accuracy)
        found = find_run(tracking, run.run_id)
        assert found.run.info.status == "FINISHED"
        assert found.run.data.metrics["test_on/clinic :number-sign:7/accuracy"] == accuracy
        assert found.has(PAGE)
        assert found.artifact(PAGE).read_text() == text
    assert found.has("summary.json")
    assert not found.has("evaluation/ward.html")
    assert found.summary.status == "FINISHED"


@pytest.mark.usefixtures("ready_store")
def test_in_the_embedded_store() -> None:
    check_additions(Tracking())
    run = find_run(Tracking(), "house")
    forget(run, PAGE)  # only what was fetched, never the filed one
    assert run.has(PAGE)


@pytest.mark.slow
def test_on_a_server_that_then_goes_away(tmp_path: Path) -> None:
    port = free_port()
    tracking = Tracking(uri=f"http://127.0.0.1:{port}")
    with server(tmp_path, port):
        check_additions(tracking)
        run = find_run(tracking, "house")
    with pytest.raises(UserError, match=r"could not be added to .*--file false"):
        add(run, "third", 0.75)
    with pytest.raises(UserError, match="its files could not be listed"):
        run.has(PAGE)
