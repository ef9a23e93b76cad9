"""How a machine is divided among workers."""

import pytest

from bcc_lightning.tuning.executors.local import Seats


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    for variable in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(variable, raising=False)


def test_each_gpu_has_a_worker_that_sees_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-8932f937")
    seats = Seats.of_this_machine(None, gpus=2)
    assert seats.count == 2
    assert seats.environment(0) == {"OMP_NUM_THREADS": "4", "CUDA_VISIBLE_DEVICES": "3"}
    assert seats.environment(1) == {"OMP_NUM_THREADS": "4", "CUDA_VISIBLE_DEVICES": "GPU-8932f937"}
    assert seats.flags(loading=7) == ["--data.num_workers", "3"]  # beside the process that trains


def test_more_workers_than_gpus_share_them() -> None:
    seats = Seats.of_this_machine(4, gpus=2)
    assert [seats.environment(seat)["CUDA_VISIBLE_DEVICES"] for seat in range(4)] == ["0", "1", "0", "1"]


@pytest.mark.parametrize(
    ("workers", "limit", "threads"), [(None, None, 8), (3, None, 2), (16, None, 1), (2, "1", 1), (2, "6", 4)]
)
def test_cores_are_divided(monkeypatch: pytest.MonkeyPatch, workers: int | None, limit: str | None, threads: int) -> None:
    if limit:
        monkeypatch.setenv("OMP_NUM_THREADS", limit)
    seats = Seats.of_this_machine(workers, gpus=0)
    assert seats.count == (workers or 1)
    assert seats.environment(0) == {"OMP_NUM_THREADS": str(threads)}
