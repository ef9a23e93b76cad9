"""SMOTE against imbalanced-learn on pixels, by what each new pixel may be, and what memory it takes."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from imblearn.over_sampling import SMOTE
from sklearn.neighbors import NearestNeighbors

from bcc_lightning.balancing import smote
from bcc_lightning.balancing import smote as memory
from bcc_lightning.balancing.smote import nearest, needed_memory, refuse_single_cells, synthesise
from bcc_lightning.errors import UserError

COUNTS = (30, 12, 21)
LABELS = np.random.default_rng(1).permutation(np.repeat(np.arange(3), COUNTS))
IMAGES = np.random.default_rng(0).integers(0, 256, (len(LABELS), 9, 7, 3), dtype=np.uint8)


@pytest.mark.parametrize("block", [smote.BLOCK_CELLS, 5])
def test_same_cells_as_imbalanced_learn_on_pixels(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(smote, "BLOCK_CELLS", block)
    made = synthesise(IMAGES, LABELS, seed=4)
    pixels, labels = SMOTE(random_state=4).fit_resample(IMAGES.reshape(len(IMAGES), -1).astype(np.float64), LABELS)
    np.testing.assert_array_equal(made.labels, labels[len(LABELS) :])
    np.testing.assert_array_equal(made.images.reshape(len(made.images), -1), np.rint(pixels[len(LABELS) :]).astype(np.uint8))


def test_classes_reach_the_largest() -> None:
    made = synthesise(IMAGES, LABELS, seed=0)
    assert np.bincount(made.labels, minlength=3).tolist() == [0, 18, 9]
    assert made.images.shape == (27, 9, 7, 3)
    assert made.images.dtype == np.uint8


def test_each_pixel_lies_between_its_parents() -> None:
    made = synthesise(IMAGES, LABELS, seed=0)
    parents = IMAGES[made.parents]
    assert (made.images >= parents.min(axis=1)).all()
    assert (made.images <= parents.max(axis=1)).all()
    assert (LABELS[made.parents] == made.labels[:, None]).all()
    assert (made.parents[:, 0] != made.parents[:, 1]).all()


def test_parents_are_near_neighbours() -> None:
    made = synthesise(IMAGES, LABELS, seed=0, neighbours=2)
    cells = np.flatnonzero(LABELS == 1)
    pixels = IMAGES[cells].reshape(len(cells), -1).astype(np.float64)
    near = NearestNeighbors(n_neighbors=3, algorithm="brute").fit(pixels).kneighbors(pixels, return_distance=False)
    np.testing.assert_array_equal(nearest(IMAGES.reshape(len(IMAGES), -1), cells, 2), near)
    pairs = {frozenset((cells[row[0]], cells[other])) for row in near for other in row[1:]}
    assert {frozenset(pair) for pair in made.parents[made.labels == 1].tolist()} <= pairs


def test_seed_decides() -> None:
    first, same, other = (synthesise(IMAGES, LABELS, seed).images for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_a_class_of_two_has_one_neighbour_each() -> None:
    labels = np.array([0] * 6 + [1] * 2)
    made = synthesise(IMAGES[:8], labels, seed=0)
    assert {tuple(sorted(pair)) for pair in made.parents.tolist()} == {(6, 7)}


def test_identical_cells_stay_identical() -> None:
    images = IMAGES[:9].copy()
    images[6:] = images[6]
    made = synthesise(images, np.array([0] * 6 + [1] * 3), seed=0)
    assert (made.images == images[6]).all()


def test_equal_classes_need_nothing() -> None:
    made = synthesise(IMAGES[:4], np.array([0, 1, 0, 1]), seed=0)
    assert made.images.shape == (0, 9, 7, 3)
    assert made.parents.shape == (0, 2)


def test_a_class_with_one_cell_is_named() -> None:
    with pytest.raises(UserError, match=r"class 1 has 1 training cell\. Add cells, or use --data.balance oversample"):
        synthesise(IMAGES[:5], np.array([0, 0, 0, 0, 1]), seed=0)
    with pytest.raises(UserError, match="class platelet has 1"):
        refuse_single_cells(np.array([0, 0, 1]), ("ig", "platelet"))


def test_no_neighbours_are_refused() -> None:
    with pytest.raises(UserError, match="SMOTE with 0 neighbours is not possible; use 1 or more, usually 5"):
        synthesise(IMAGES, LABELS, seed=0, neighbours=0)


def test_memory_by_hand() -> None:
    # 63 cells, 27 new ones, D = 189, largest class to be filled up 21, all compared at once: (63 + 54) * 189 + 8 * 21 * 231.
    assert needed_memory(LABELS, 189) == 22_113 + 38_808
    # 64 MiB / (4 * 150,528) = 111 cells of 224x224 are compared at once, 512 at most of 28x28.
    labels = np.repeat([0, 1], [1000, 600])
    assert needed_memory(labels, 150_528) == 2400 * 150_528 + 8 * 111 * (150_528 + 1200)
    assert needed_memory(labels, 2352) == 2400 * 2352 + 8 * 512 * (2352 + 1200)


def test_distances_are_not_rounded() -> None:
    # Sums of 27,648 products of 128 have 29 bits, 5 more than float32 holds.
    values = np.array([[-128, -128], [-128, 127]], np.float32).repeat(13_824, axis=1)
    expected = [[27_648 * 128 * 128, 13_824 * 128 * 128 - 13_824 * 128 * 127], [0, 13_824 * (128 * 128 + 127 * 127)]]
    expected[1][0] = expected[0][1]
    assert smote.products(values, values).tolist() == expected
    odd = np.random.default_rng(0).integers(-128, 128, (2, 27_648))
    assert smote.products(odd.astype(np.float32), odd.astype(np.float32)).tolist() == (odd @ odd.T).tolist()


def test_memory_as_measured() -> None:
    labels = np.repeat([0, 1], [1100, 100])
    images = np.random.default_rng(0).integers(0, 256, (1200, 64, 64, 3), dtype=np.uint8)
    synthesise(IMAGES, LABELS, seed=0)  # imports are not counted
    tracemalloc.start()
    joined = np.concatenate([images, synthesise(images, labels, seed=0).images])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(joined) == 2200
    needed = needed_memory(labels, 64 * 64 * 3)
    assert needed / 2 < peak < needed


def test_too_little_memory_is_refused_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smote, "available_memory", lambda: 2**20)
    monkeypatch.setattr(smote, "sample_rows", lambda *_: pytest.fail("began although memory does not suffice"))
    expected = (
        r"63 images of 512x384 pixels needs 0\.2 GiB of memory, 0\.0 GiB are free; "
        r"use a smaller --data\.image_size, or --data\.balance oversample"
    )
    with pytest.raises(UserError, match=expected):
        synthesise(np.zeros((63, 384, 512, 3), np.uint8), LABELS, seed=0)
    monkeypatch.setattr(smote, "available_memory", lambda: None)  # a system that does not report it
    smote.refuse_too_large(LABELS, (384, 512, 3))


def lay_out(folder: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """Write the files in which Linux reports memory."""
    job = folder / "cgroup" / "job"
    job.mkdir(parents=True)
    (job / "memory.max").write_text(f"{limit}\n")
    (job / "memory.current").write_text("3000000\n")
    (job / "memory.stat").write_text("anon 1000000\ninactive_file 500000\n")
    (folder / "own").write_text("0::/job\n")
    (folder / "meminfo").write_text("MemTotal:       16000 kB\nMemAvailable:    8000 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", folder / "meminfo")
    monkeypatch.setattr(memory, "CGROUPS", folder / "cgroup")
    monkeypatch.setattr(memory, "OWN_CGROUP", folder / "own")


@pytest.mark.parametrize(("limit", "expected"), [("max", 8_192_000), ("4000000", 1_500_000), ("99000000", 8_192_000)])
def test_the_limit_of_a_job_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, expected: int) -> None:
    lay_out(tmp_path, monkeypatch, limit)
    assert memory.available_memory() == expected


def test_memory_where_there_is_no_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MEMINFO", "CGROUPS", "OWN_CGROUP"):
        monkeypatch.setattr(memory, name, tmp_path / "missing")
    assert (memory.available_memory() or 0) > 2**20
