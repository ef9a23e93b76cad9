"""The hash of a data set changes if, and only if, its content does; what a second start may skip, and what it may not."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bcc_lightning.datamodules import CellFolder, CellTable
from bcc_lightning.datasets.cache import cached_images
from bcc_lightning.datasets.cells import CellImages, Names
from bcc_lightning.datasets.identity import identify, whole
from bcc_lightning.datasets.listing import list_folder
from tests.datamodules.miniatures import write_folder

CLASSES = ("lymphocyte", "monocyte")
CELLS = 12


def identity_of(content: dict[str, Any], order: np.ndarray, shift: int = 0) -> dict[str, str]:
    """Identify cells in an order, with groups numbered from `shift`."""
    cells = CellImages(
        np.zeros((CELLS, 1, 1, 3), np.uint8),
        np.asarray(content["labels"], np.int64)[order],
        Names.of(np.asarray([f"cell {number}" for number in range(CELLS)])[order].tolist()),
        groups=(np.asarray(content["groups"], np.int64)[order] * 7 + shift),
        weights=np.asarray(content["weights"], np.float32)[order],
    )
    return identify(content["pixels"], cells, content["classes"])


def partition(groups: list[int]) -> list[list[int]]:
    return sorted([place for place, group in enumerate(groups) if group == one] for one in set(groups))


CONTENT = st.fixed_dictionaries(
    {
        "pixels": st.sampled_from(["a", "b"]),
        "labels": st.lists(st.integers(0, 2), min_size=CELLS, max_size=CELLS),
        "groups": st.lists(st.integers(0, 3), min_size=CELLS, max_size=CELLS),
        "weights": st.lists(st.sampled_from([1.0, 2.0]), min_size=CELLS, max_size=CELLS),
        "classes": st.sampled_from([("a", "b", "c"), ("a", "b", "d"), ("b", "a", "c")]),
    }
)


@settings(max_examples=200, deadline=None)
@given(CONTENT, CONTENT, st.permutations(range(CELLS)), st.integers(0, 9))
def test_the_hash_changes_if_and_only_if_the_content_does(
    one: dict[str, Any], other: dict[str, Any], order: list[int], shift: int
) -> None:
    first, second = identity_of(one, np.arange(CELLS)), identity_of(other, np.array(order), shift)
    same = {
        "pixels": one["pixels"] == other["pixels"],
        "labels": [one["classes"][i] for i in one["labels"]] == [other["classes"][i] for i in other["labels"]],
        "groups": partition(one["groups"]) == partition(other["groups"]),
        "weights": one["weights"] == other["weights"],
        "classes": one["classes"] == other["classes"],
    }
    assert {name: first[name] == second[name] for name in same} == same
    assert (whole(first) == whole(second)) == all(same.values())
    assert whole(first) == whole(identity_of(one, np.array(order), shift))


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    root = write_folder(tmp_path / "cells", CLASSES, per_class=8)
    paths = sorted(file.relative_to(root).as_posix() for file in root.rglob("*.png"))
    return pd.DataFrame({"path": paths, "label": [path.split("/")[0] for path in paths], "group": [n // 2 for n in range(16)]})


def hash_of(table: pd.DataFrame, folder: Path) -> str:
    table.to_csv(folder / "cells" / "cells.csv", index=False)
    return CellTable(root=str(folder / "cells"), image_size=16).facts()["data.sha256"]


def test_corrected_labels_give_another_hash_and_shuffled_rows_do_not(table: pd.DataFrame, tmp_path: Path) -> None:
    before = hash_of(table, tmp_path)
    assert hash_of(table.sample(frac=1, random_state=0), tmp_path) == before
    assert hash_of(table.assign(group=table["group"].map("P{:03d}".format)), tmp_path) == before  # the same patients
    assert hash_of(table.assign(group=table["group"] // 2), tmp_path) != before
    assert hash_of(table.assign(weight=[1.0] * 16), tmp_path) == before
    assert hash_of(table.assign(weight=[2.0] + [1.0] * 15), tmp_path) != before
    corrected = table.copy()
    corrected.loc[0, "label"] = CLASSES[1]
    assert hash_of(corrected, tmp_path) != before


def test_another_place_and_other_times_give_the_same_hash(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "cells", CLASSES, per_class=8)
    before = CellFolder(root=str(root), image_size=16).facts()["data.sha256"]
    for file in root.rglob("*.png"):
        os.utime(file, (1, 1))
    root.rename(tmp_path / "elsewhere")
    assert CellFolder(root=str(tmp_path / "elsewhere"), image_size=16).facts()["data.sha256"] == before


def test_a_file_replaced_by_one_of_the_same_size_and_time_is_noticed(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "cells", CLASSES, per_class=8)
    for file in root.rglob("*.png"):
        Image.open(file).save(file.with_suffix(".bmp"))  # all of one size
        file.unlink()
    file = sorted(root.rglob("*.bmp"))[0]
    before, stat = CellFolder(root=str(root), image_size=16), file.stat()
    hash_before = before.facts()["data.sha256"]
    Image.new("RGB", Image.open(file).size, "red").save(file)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert CellFolder(root=str(root), image_size=16).facts()["data.sha256"] != hash_before


def test_reread_decodes_again_what_was_damaged_in_the_cache(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "cells", CLASSES, per_class=4)
    right = np.array(cached_images(list_folder(root), 16, None, str(tmp_path / "cache")).images)
    stored = next((tmp_path / "cache").glob("*px-*/images.npy"))
    np.save(stored, np.zeros_like(right))  # whole, but wrong
    again = CellFolder(root=str(root), image_size=16, cache_dir=str(tmp_path / "cache"), reread=True)
    np.testing.assert_array_equal(again.cached.images, right)


def test_a_cut_off_cache_is_built_again(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "cells", CLASSES, per_class=4)
    listing, cache = list_folder(root), str(tmp_path / "cache")
    right = np.array(cached_images(listing, 16, None, cache).images)
    stored = next((tmp_path / "cache").glob("*px-*/images.npy"))
    stored.write_bytes(stored.read_bytes()[:200])
    np.testing.assert_array_equal(cached_images(listing, 16, None, cache).images, right)
