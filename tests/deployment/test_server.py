"""What a server answers, and what it refuses before it costs anything."""

import base64
import io
import re
import select
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from bcc_lightning.deployment.access import Access
from bcc_lightning.deployment.limits import MEGABYTE, Limits
from bcc_lightning.differential.counting import Confusion
from bcc_lightning.errors import UserError
from tests.deployment.serving import NAMES, Gated, Running, classifier, encoded, picture, running

CONFUSION = Confusion(tuple(NAMES), np.array([[80, 20, 0], [10, 90, 0], [0, 0, 100]]))


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    limits = Limits(body=4 * MEGABYTE, images=40, pixels=1_000_000, queue=80)
    with running(classifier(), limits, confusion=CONFUSION) as one:
        yield one


def wait_until(reached: object, what: str) -> None:
    """Wait for something that other threads do."""
    until = time.monotonic() + 20
    while not reached():  # type: ignore[operator]
        assert time.monotonic() < until, what
        time.sleep(0.01)


def test_answers_are_those_of_predict(server: Running) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(256, size=(*size, 3), dtype=np.uint8) for size in ((40, 40), (33, 64), (20, 20))] + [picture("blue")]
    names = ["one.png", "<b>two</b>.png", "slide 1/three.png", "ünï.png"]
    response = server.predict(*zip(names, map(encoded, images), strict=True))
    table = classifier().predict(images)
    assert response.status_code == 200
    answers = response.json()
    assert [answer["filename"] for answer in answers] == names
    assert [answer["predicted"] for answer in answers] == list(table["predicted"])
    assert [answer["error"] for answer in answers] == [None] * 4
    for column in ("probability", "margin"):
        assert [answer[column] for answer in answers] == pytest.approx(list(table[column]), abs=1e-6)
    assert [list(answer["probabilities"]) for answer in answers] == [NAMES] * 4
    assert [list(answer["probabilities"].values()) for answer in answers] == [
        pytest.approx(list(row), abs=1e-6) for row in table[NAMES].to_numpy()
    ]


def test_unreadable_images_are_named_and_the_others_answered(server: Running) -> None:
    whole = encoded(np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8))
    deep = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(deep, "TIFF")
    bad = [
        ("text.png", b"not an image"),
        ("empty.png", b""),
        ("half.png", whole[: len(whole) // 2]),
        ("deep.tif", deep.getvalue()),
    ]
    response = server.predict(*bad, ("good.png", encoded(picture("green"))))
    assert response.status_code == 200
    *failed, good = response.json()
    assert good["predicted"] == "green"
    errors = [
        "is not an image, or has an unknown format",
        "is empty",
        "is cut off or damaged",
        "has 16 bits per channel; save it with 8",
    ]
    for answer, error in zip(failed, errors, strict=True):
        assert answer["error"].startswith(error)
        assert "--" not in answer["error"]
        assert answer["predicted"] is answer["probability"] is answer["probabilities"] is answer["margin"] is None
    only_bad = server.predict(*bad)
    assert (only_bad.status_code, len(only_bad.json())) == (422, 4)


def test_an_image_of_too_many_pixels_is_refused_by_its_header(server: Running) -> None:
    bomb = encoded(np.zeros((2000, 2000, 3), np.uint8))
    (answer,) = server.predict(("bomb.png", bomb)).json()
    assert answer["error"] == "has 2000 x 2000 pixels, more than 1,000,000; crop single cells from it"


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (
            {"data": "text", "headers": {"Content-Type": "text/plain"}},
            415,
            "the request holds text/plain; send images as multipart",
        ),
        ({"data": b"\x89PNG"}, 415, "the request holds nothing"),
        ({"json": {"files": []}}, 415, "holds application/json"),
        ({"files": [("image", ("a.png", b"x"))]}, 422, r"no image in the field 'files' \(its fields: image\)"),
        ({"data": b"--x--\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, 422, r"its fields: none"),
        ({"data": b"nonsense", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, 400, "the request is damaged"),
        ({"data": b"", "headers": {"Content-Type": "multipart/form-data"}}, 400, "the request is damaged"),
    ],
)
def test_requests_of_another_kind(server: Running, options: dict[str, object], status: int, message: str) -> None:
    response = server.ask("POST", "/predict", **options)
    assert response.status_code == status
    assert re.search(message, response.json()["detail"])


@pytest.mark.parametrize(("images", "status"), [(40, 200), (41, 413), (10_000, 413)])
def test_the_number_of_images(server: Running, images: int, status: int) -> None:
    cell = encoded(picture("red", (4, 4)))
    response = server.predict(*[(f"{number}.png", cell) for number in range(images)])
    assert response.status_code == status
    if status == 413:
        assert response.json()["detail"].startswith("the request has more than 40 images")


def exchange(port: int, head: str, parts: Iterator[bytes]) -> tuple[bytes, int]:
    """Send a request part by part until the server answers; return its whole answer, and how many bytes it was sent before."""
    sent = 0
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}\r\n\r\n".encode())
        connection.settimeout(0.01)
        for part in parts:
            view = memoryview(part)
            while view and not select.select([connection], [], [], 0)[0]:
                with suppress(TimeoutError):
                    written = connection.send(view)
                    sent, view = sent + written, view[written:]
            if view:
                break
        connection.settimeout(20)
        answer = b""
        with suppress(ConnectionResetError):  # the server closes while more of the body is under way
            while received := connection.recv(65_536):
                answer += received
        return answer, sent


def test_a_body_of_200_megabytes_is_refused_before_it_is_sent(server: Running) -> None:
    head = f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {200 * MEGABYTE}"
    answer, sent = exchange(server.port, head, iter(()))
    assert sent == 0
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"the request has more than 4 MB; send the images in several requests" in answer
    assert b"connection: close" in answer.lower()


def test_a_body_without_a_length_is_counted(server: Running) -> None:
    piece = b"%x\r\n%s\r\n" % (65_536, b"x" * 65_536)
    start = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    head = "Content-Type: multipart/form-data; boundary=x\r\nTransfer-Encoding: chunked"
    answer, sent = b"", 0
    for _ in range(5):
        parts = (b"%x\r\n%s\r\n" % (len(start), start) if not number else piece for number in range(200 * MEGABYTE // 65_536))
        with suppress(ConnectionError):  # a client that goes on sending may be cut off before it has read the answer
            answer, sent = exchange(server.port, head, parts)
            break
    assert answer.startswith(b"HTTP/1.1 413")
    assert sent < 40 * MEGABYTE  # the limit, and what the system's buffers hold
    assert server.predict(("a.png", encoded(picture("red")))).status_code == 200


def test_all_bodies_together_are_bounded() -> None:
    gated = Gated()
    with running(gated, Limits(body=4000, images=8, queue=1000)) as server, ThreadPoolExecutor(40) as pool:
        large = encoded(np.random.default_rng(0).integers(256, size=(32, 32, 3), dtype=np.uint8))
        assert 3000 < len(large) < 3600
        found = [pool.submit(server.predict, ("a.png", large)) for _ in range(20)]
        wait_until(lambda: sum(one.done() for one in found) > 5, "requests are turned away")
        gated.gate.set()
        statuses = [one.result().status_code for one in found]
        assert set(statuses) == {200, 503}
        assert statuses.count(200) <= 8 * 4000 // 3000
        assert server.predict(("a.png", large)).status_code == 200  # the places are free again


def test_a_full_queue_turns_requests_away_until_there_is_room() -> None:
    gated = Gated()
    four = [(f"{number}.png", encoded(picture("blue"))) for number in range(4)]
    with running(gated, Limits(images=4, queue=6)) as server, ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.predict, *four)
        wait_until(lambda: server.answering.batches.admitted == 4, "the first request waits")
        refused = server.predict(*four)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert refused.json()["detail"] == "the server is busy: 4 images wait for the network; try again shortly"
        assert server.ask("GET", "/health").json() == {"status": "ok", "images_waiting": 4}
        gated.gate.set()
        assert [answer["predicted"] for answer in first.result().json()] == ["blue"] * 4
        assert server.predict(*four).status_code == 200


def test_a_request_that_takes_too_long_is_given_up_with_its_images() -> None:
    gated = Gated()
    with running(gated, Limits(seconds=0.3), batch_size=1) as server:
        late = server.predict(*[(f"{number}.png", encoded(picture("red"))) for number in range(5)])
        assert late.status_code == 504
        assert late.json()["detail"].startswith("no answer within 0.3 s; send fewer images")
        gated.gate.set()
        wait_until(lambda: server.predict(("a.png", encoded(picture("green")))).status_code == 200, "the server goes on")
        assert server.answering.batches.images < 5


def test_fifty_clients_at_once_get_their_own_answers_in_few_batches() -> None:
    gated = Gated()
    colours = [NAMES[number % 3] for number in range(50)]
    with running(gated) as server, ThreadPoolExecutor(50) as pool:
        found = [pool.submit(server.predict, (f"{n}.png", encoded(picture(colour)))) for n, colour in enumerate(colours)]
        wait_until(lambda: server.answering.batches.admitted == 50, "all requests wait")
        gated.gate.set()
        answers = [one.result().json()[0] for one in found]
        assert [answer["predicted"] for answer in answers] == colours
        assert [answer["filename"] for answer in answers] == [f"{number}.png" for number in range(50)]
        assert server.answering.batches.images == 50
        assert server.answering.batches.batches <= 1 + 2 + 1  # what came first, then 32 at once


def test_a_fault_of_the_network_does_not_end_the_server() -> None:
    gated = Gated()
    gated.gate.set()
    gated.fault = RuntimeError("out of memory")
    cell = ("a.png", encoded(picture("green")))
    with running(gated) as server:
        assert server.predict(cell).status_code == 500
        gated.fault = None
        assert server.predict(cell).json()[0]["predicted"] == "green"


def test_values_that_are_no_numbers_are_an_error_and_not_an_answer() -> None:
    broken = classifier()
    broken.module.register_forward_hook(lambda module, images, logits: logits * float("nan"))
    with running(broken) as server:
        response = server.predict(("a.png", encoded(picture("green"))))
        assert response.status_code == 422
        assert response.json()[0]["error"] == "the network gives no probabilities for it, since its values overflow"


def test_maps(server: Running) -> None:
    cell = ("a.png", encoded(picture("green")))
    answer, bad = server.predict(cell, ("b.png", b"x"), query="?map=true").json()
    assert answer["predicted"] == "green"
    assert bad["image"] is bad["map"] is None
    drawn = {}
    for name in ("image", "map"):
        kind, _, content = answer[name].partition(",")
        assert kind == "data:image/png;base64"
        drawn[name] = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
        assert drawn[name].shape == (224, 224, 3)
    assert (drawn["image"] == (40, 200, 40)).all()
    assert "map" not in server.predict(cell).json()[0]
    assert server.predict(*[cell] * 17, query="?map=true").status_code == 413


def test_maps_and_predictions_at_once(server: Running) -> None:
    cell = ("a.png", encoded(picture("blue")))
    with ThreadPoolExecutor(8) as pool:
        found = [pool.submit(server.predict, cell, query=query) for query in ("", "?map=true") * 12]
        assert [one.result().json()[0]["predicted"] for one in found] == ["blue"] * 24


def test_the_differential_has_exact_limits(server: Running) -> None:
    rows = server.ask("POST", "/differential", json={"counts": {"red": 3, "green": 97}}).json()
    assert [(row["class"], row["count"], row["share"]) for row in rows] == [
        ("red", 3, 0.03),
        ("green", 97, 0.97),
        ("blue", 0, 0.0),
    ]
    for row in rows:
        exact = binomtest(row["count"], 100).proportion_ci(0.95, method="exact")
        assert (row["low"], row["high"]) == pytest.approx((exact.low, exact.high), abs=1e-9)
    # 20 % of the red cells are called green and 10 % of the green ones red: 3 % red is fewer than green cells alone would give
    assert rows[0]["corrected"] == pytest.approx(0, abs=1e-6)
    part = server.ask(
        "POST", "/differential", json={"counts": {"red": 30, "green": 10, "blue": 60}, "of": ["red", "green"]}
    ).json()
    assert [(row["class"], row["share"]) for row in part] == [("red", 0.75), ("green", 0.25)]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"counts": {"violet": 1}}, "'violet' is not a class of this network; there are red, green, blue"),
        ({"counts": {"red": -1}}, "greater than or equal to 0"),
        ({"counts": {"red": 1.5}}, "valid integer"),
        ({"counts": {"red": 10**12}}, "less than or equal to 100000000"),
        ({"counts": {"red": 1}, "of": ["pink"]}, "pink"),
        ({}, "counts"),
    ],
)
def test_counts_that_are_not_allowed(server: Running, body: dict[str, object], message: str) -> None:
    response = server.ask("POST", "/differential", json=body)
    assert response.status_code == 422
    assert message in response.text


def test_no_cells_have_no_shares(server: Running) -> None:
    rows = server.ask("POST", "/differential", json={"counts": {}}).json()
    assert [(row["share"], row["low"], row["high"]) for row in rows] == [(None, 0.0, 1.0)] * 3


def test_the_token_opens_everything_but_page_and_health() -> None:
    token = "a-token-of-twenty-6-letters"
    with running(classifier(), access=Access(None, token)) as server:
        cell = ("a.png", encoded(picture("red")))
        assert [server.ask("GET", path).status_code for path in ("/", "/health", "/docs", "/model")] == [200, 200, 200, 401]
        refused = server.predict(cell)
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert server.predict(cell, headers={"Authorization": f"Bearer {token}"}).json()[0]["predicted"] == "red"


def test_pages_and_names_of_others_are_refused(server: Running) -> None:
    assert server.ask("GET", "/model", headers={"Host": "evil.example"}).status_code == 421
    cell = ("a.png", encoded(picture("red")))
    refused = server.predict(cell, headers={"Origin": "http://evil.example"})
    assert (refused.status_code, refused.json()["detail"]) == (403, "a page of 'http://evil.example' may not use this server")
    assert server.predict(cell, headers={"Origin": server.url}).status_code == 200


def test_pages_load_nothing_from_elsewhere(server: Running) -> None:
    for path in ("/", "/docs"):
        response = server.ask("GET", path)
        assert response.status_code == 200
        assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", response.text)
        policy = response.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    paths = server.ask("GET", "/openapi.json").json()["paths"]
    assert set(paths) == {"/health", "/model", "/predict", "/differential"}
    assert all(f"{path}</code>" in response.text for path in paths)


def test_an_unknown_path(server: Running) -> None:
    assert server.ask("GET", "/../../etc/passwd").status_code == 404
    assert server.ask("GET", "/predict").status_code == 405


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"queue": 100, "images": 256}, r"--max_queue is 100, but one request may have 256 images"),
        ({"seconds": 0}, r"--max_seconds is 0; it must be above 0"),
        ({"body": -1}, r"--max_body is -1; it must be above 0"),
    ],
)
def test_limits_that_refuse_everything(changes: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Limits(**changes)  # type: ignore[arg-type]


def test_the_threads_end_with_the_server() -> None:
    before = threading.active_count()
    with running(classifier()) as server:
        server.predict(("a.png", encoded(picture("red"))))
        assert threading.active_count() > before
    wait_until(lambda: threading.active_count() <= before, "the threads end")
