"""The server: it answers as the network does, joins what comes at once, and refuses what is too much."""

import io
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from scipy.stats import binomtest

from bcc_lightning.deployment.batching import Batcher, QueueFullError
from bcc_lightning.deployment.server import Limits, make_app
from bcc_lightning.prediction.classifier import TrainedClassifier
from bcc_lightning.serve import main
from tests.miniature import Colours, write_colours

CLASSES = ["red", "green", "blue"]
LOCAL = "http://127.0.0.1"


@pytest.fixture
def colours() -> TrainedClassifier:
    return TrainedClassifier(Colours(class_names=CLASSES, image_size=32), batch_size=16)


@pytest.fixture
def client(colours: TrainedClassifier) -> Iterator[TestClient]:
    with TestClient(make_app(colours, Limits(max_body=100_000, max_images=40)), LOCAL) as client:
        yield client


def upload(*files: Path) -> list[tuple[str, tuple[str, io.BytesIO]]]:
    return [("files", (file.name, io.BytesIO(file.read_bytes()))) for file in files]


def test_answers_are_those_of_the_network(client: TestClient, colours: TrainedClassifier) -> None:
    files = write_colours(Path(), ["1_red.png", "2_green.png", "3_blue.png"])
    expected = colours.predict(files)
    answer = client.post("/predict", files=upload(*files))
    assert answer.status_code == 200
    for row, wanted in zip(answer.json(), expected.to_dict("records"), strict=True):
        assert (row["filename"], row["predicted"], row["error"]) == (wanted["image"], wanted["predicted"], None)
        assert row["probabilities"] == pytest.approx({name: wanted[name] for name in CLASSES})
        assert (row["probability"], row["margin"]) == pytest.approx((wanted["probability"], wanted["margin"]))


def test_an_image_that_cannot_be_read_does_not_stop_the_others(client: TestClient) -> None:
    (good,) = write_colours(Path(), ["1_red.png"])
    Path("cut.png").write_bytes(good.read_bytes()[:60])
    Path("text.png").write_text("text")
    answer = client.post("/predict", files=upload(Path("cut.png"), good, Path("text.png")))
    assert [bool(row["error"]) for row in answer.json()] == [True, False, True]
    assert answer.status_code == 200
    assert client.post("/predict", files=upload(Path("text.png"))).status_code == 422
    assert client.post("/predict").status_code == 422


def test_too_much_is_refused(client: TestClient) -> None:
    (good,) = write_colours(Path(), ["1_red.png"])
    assert client.post("/predict", files=upload(*[good] * 41)).status_code == 413
    refused = client.post("/predict", content=b"x", headers={"Content-Length": "200000000"})
    assert (refused.status_code, "200,000,000 bytes" in refused.json()["detail"]) == (413, True)
    chunked = client.post("/predict", content=iter([b"x" * 1000]))
    assert chunked.status_code == 411


def test_requests_that_come_at_once_are_joined(client: TestClient) -> None:
    files = write_colours(Path(), [f"{number}_{CLASSES[number % 3]}.png" for number in range(50)])
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda file: client.post("/predict", files=upload(file)).json(), files))
    assert [row["predicted"] for (row,) in answers] == [CLASSES[number % 3] for number in range(50)]
    assert client.app.state.batcher.batches < 50  # type: ignore[attr-defined]


def test_a_full_queue_is_said(colours: TrainedClassifier) -> None:
    batcher = Batcher(colours, most=2)
    with pytest.raises(QueueFullError):
        batcher.submit([np.zeros((32, 32, 3), np.uint8)] * 3)
    batcher.close()
    with TestClient(make_app(colours, Limits(max_waiting=1)), LOCAL) as client:
        files = write_colours(Path(), ["1_red.png", "2_red.png"])
        answer = client.post("/predict", files=upload(*files))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert client.post("/predict", files=upload(files[0])).status_code == 200


def test_a_request_that_is_given_up_harms_no_other(colours: TrainedClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    go, classify = threading.Event(), colours.classify
    monkeypatch.setattr(colours, "classify", lambda pixels: go.wait(20) and classify(pixels))
    batcher, red = Batcher(colours), np.full((32, 32, 3), (200, 40, 40), np.uint8)
    first, given_up, other = (batcher.submit([red])[0] for _ in range(3))
    while not first.running():
        time.sleep(0.01)
    given_up.cancel()
    go.set()
    assert first.result(20).argmax() == other.result(20).argmax() == 0
    batcher.close()


def test_a_network_that_does_not_answer_is_given_up(colours: TrainedClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Batcher, "_gather", lambda self: self._queue.get() and None)
    with TestClient(make_app(colours, Limits(timeout=0.1)), LOCAL) as client:
        assert client.post("/predict", files=upload(*write_colours(Path(), ["1_red.png"]))).status_code == 504


def test_other_sites_and_strangers_stay_out(colours: TrainedClassifier) -> None:
    with TestClient(make_app(colours, token="secret"), LOCAL) as client:
        assert client.get("/health").json() == {"status": "ok"}
        assert client.get("/model").status_code == 401
        assert client.get("/model", headers={"Authorization": "Bearer wrong"}).status_code == 401
        allowed = {"Authorization": "Bearer secret"}
        assert client.get("/model", headers=allowed).json()["classes"] == CLASSES
        assert client.get("/model", headers={**allowed, "Origin": "http://evil.example"}).status_code == 403
        assert client.get("/health", headers={"Host": "evil.example"}).status_code == 421


def test_the_differential_has_exact_limits(client: TestClient) -> None:
    rows = client.post("/differential", json={"red": 10, "green": 90}).json()
    expected = binomtest(10, 100).proportion_ci(0.95, "exact")
    red = rows[0]
    assert (red["class"], red["count"], red["share"]) == ("red", 10, 0.1)
    assert (red["low"], red["high"]) == pytest.approx((expected.low, expected.high))
    assert red["corrected"] is None
    assert client.post("/differential", json={"purple": 1}).status_code == 422
    assert client.post("/differential", json={"red": -1}).status_code == 422


def test_the_page_needs_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/")
    assert "Differential count" in page.text
    assert "http://" not in page.text.replace("http://127", "")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "/predict" in client.get("/openapi.json").json()["paths"]


def test_other_machines_need_a_token(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BCC_SERVE_TOKEN", raising=False)
    assert main(["--run", "house", "--host", "0.0.0.0"]) == 2
    assert "set BCC_SERVE_TOKEN to a secret" in capsys.readouterr().err
