"""The cache of decoded images: right pixels, shared, rebuilt when half written, and clear about its disk."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from bcc_lightning.datamodules import BloodMNIST, CellFolder
from bcc_lightning.datasets import cache as cache_module
from bcc_lightning.datasets.cache import CachedImages, cached_images
from bcc_lightning.datasets.framing import fit_square
from bcc_lightning.datasets.listing import list_folder
from bcc_lightning.errors import UserError
from tests.datamodules.miniatures import write_folder
from tests.miniature import write_miniature_bloodmnist

CLASSES = ("lymphocyte", "monocyte")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "cells", CLASSES, per_class=6)


def open_cached(folder: Path, home: Path, size: int = 32, crop: int | None = None) -> CachedImages:
    return cached_images(list_folder(folder), size, crop, str(home))


def test_pixels_are_those_of_the_files(folder: Path, tmp_path: Path) -> None:
    listing = list_folder(folder)
    images = cached_images(listing, 32, None, str(tmp_path / "cache")).images
    for path, image in zip(listing.paths, images, strict=True):
        np.testing.assert_array_equal(image, cv2.cvtColor(cv2.imread(str(folder / path)), cv2.COLOR_BGR2RGB))


def test_a_second_start_opens_no_file(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "STILL_SECONDS", 0)
    first = open_cached(folder, tmp_path)

    def fail(file: Path) -> bytes:
        raise AssertionError(f"{file} was read again")

    monkeypatch.setattr(cache_module, "read_content", fail)
    second = open_cached(folder, tmp_path)
    assert isinstance(second.images, np.memmap)
    np.testing.assert_array_equal(first.images, second.images)
    assert first.content == second.content


def test_moved_data_use_the_same_decoded_images(folder: Path, tmp_path: Path) -> None:
    before = open_cached(folder, tmp_path / "cache")
    folder.rename(tmp_path / "elsewhere")
    after = open_cached(tmp_path / "elsewhere", tmp_path / "cache")
    assert after.images.filename == before.images.filename  # type: ignore[attr-defined]


def test_a_changed_file_is_decoded_again(folder: Path, tmp_path: Path) -> None:
    before = open_cached(folder, tmp_path)
    path = list_folder(folder).paths[3]
    Image.new("RGB", (32, 32), "red").save(folder / path)
    after = open_cached(folder, tmp_path)
    assert after.content != before.content
    assert (after.images[3] == [255, 0, 0]).all()
    np.testing.assert_array_equal(after.images[4], before.images[4])


def test_sizes_and_crops_have_caches_of_their_own(folder: Path, tmp_path: Path) -> None:
    assert open_cached(folder, tmp_path, 16).images.shape[1] == 16
    assert open_cached(folder, tmp_path, 96).images.shape[1] == 32  # enlarged later, on the device
    cropped = open_cached(folder, tmp_path, 32, crop=20).images
    np.testing.assert_array_equal(cropped, open_cached(folder, tmp_path).images[:, 6:26, 6:26])


@pytest.mark.parametrize(
    ("image_size", "crop", "words"),
    [(32, None, "32 native"), (16, None, "32 shrunk to 16"), (96, None, "32 enlarged to 96"), (20, 20, "20 native")],
)
def test_shrunk_files_are_not_called_native(folder: Path, tmp_path: Path, image_size: int, crop: int | None, words: str) -> None:
    assert CellFolder(root=str(folder), image_size=image_size, crop=crop, cache_dir=str(tmp_path)).resolution == words


def test_shrunk_arrays_are_not_called_native(tmp_path: Path) -> None:
    root = str(write_miniature_bloodmnist(tmp_path))
    assert BloodMNIST(root=root, image_size=16, verify_checksum=False).resolution == "28 shrunk to 16"


def test_centred_square() -> None:
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    np.testing.assert_array_equal(fit_square(image, 4), image[:, 1:5])
    np.testing.assert_array_equal(fit_square(image, 2, crop=2), image[1:3, 2:4])
    halved = image[:, 1:5].reshape(2, 2, 2, 2, 3).astype(np.float64).mean(axis=(1, 3))
    np.testing.assert_allclose(fit_square(image, 2), halved, atol=0.5)


BUILD = """
import sys
from pathlib import Path
from bcc_lightning.datasets.cache import cached_images
from bcc_lightning.datasets.listing import list_folder
import bcc_lightning.datasets.cache as module
slow = module.decode_file
def decode_slowly(*args, **kwargs):
    import time; time.sleep(0.05); print("decoding", flush=True)
    return slow(*args, **kwargs)
module.decode_file = decode_slowly
print(cached_images(list_folder(Path(sys.argv[1])), 32, None, sys.argv[2]).images.sum())
"""


def start(folder: Path, home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", BUILD, str(folder), str(home)], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_what_a_killed_process_leaves_is_not_read(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "cache"
    builder = start(folder, home)
    assert builder.stdout is not None
    builder.stdout.readline()  # it decodes
    builder.send_signal(signal.SIGKILL)
    builder.wait()
    assert list(home.glob("*.partial"))
    expected = np.stack([np.asarray(Image.open(folder / path)) for path in list_folder(folder).paths])
    np.testing.assert_array_equal(open_cached(folder, home).images, expected)
    assert not list(home.glob("*.partial"))


@pytest.mark.slow
def test_two_processes_that_start_at_once_share_one_cache(folder: Path, tmp_path: Path) -> None:
    builders = [start(folder, tmp_path / "cache") for _ in range(2)]
    outputs = [builder.communicate(timeout=120)[0] for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0]
    assert sum(output.count("decoding") for output in outputs) == len(list_folder(folder))
    assert len({output.splitlines()[-1] for output in outputs}) == 1
    assert len(list((tmp_path / "cache").glob("32px-*/images.npy"))) == 1


def test_a_folder_that_cannot_be_written(folder: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be written to /proc/cells .*--data.cache_dir DIR or BCC_CACHE_DIR=DIR"):
        open_cached(folder, Path("/proc/cells"))


def limit_files() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


@pytest.mark.slow
def test_a_disk_that_fills_up_while_writing(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", BUILD, str(folder), str(tmp_path / "cache")]
    result = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit_files, check=False)
    assert "UserError: the cache of decoded images cannot be written" in result.stderr
    assert not list((tmp_path / "cache").glob("*px-*/images.npy"))


def test_a_disk_without_room_is_noticed_first(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "SPARE", 2**60)
    with pytest.raises(UserError, match=r"GiB are needed, .* GiB are free"):
        open_cached(folder, tmp_path / "cache")


def test_bad_files_are_named_together(folder: Path, tmp_path: Path) -> None:
    paths = list_folder(folder).paths
    (folder / paths[0]).write_bytes(b"no image")
    (folder / paths[5]).write_bytes((folder / paths[5]).read_bytes()[:200])
    with pytest.raises(UserError) as error:
        open_cached(folder, tmp_path / "cache")
    assert f"2 of 12 files cannot be read: {paths[0]} is not an image" in str(error.value)
    assert f"{paths[5]} is cut off or damaged" in str(error.value)
    assert "data audit --root" in str(error.value)


def test_a_file_that_vanishes(folder: Path, tmp_path: Path) -> None:
    listing = list_folder(folder)
    (folder / listing.paths[2]).unlink()
    with pytest.raises(UserError, match=r"cannot be read .No such file or directory.; restore it or leave it out"):
        cached_images(listing, 32, None, str(tmp_path))


def test_a_change_in_time_alone_keeps_the_decoded_images(folder: Path, tmp_path: Path) -> None:
    open_cached(folder, tmp_path / "cache")
    os.utime(folder / list_folder(folder).paths[0], (time.time() + 5, time.time() + 5))
    open_cached(folder, tmp_path / "cache")
    assert len(list((tmp_path / "cache").glob("32px-*/images.npy"))) == 1
    surveys = [json.loads(file.read_text()) for file in (tmp_path / "cache" / "known").glob("*.json")]
    assert len({survey["sha256"] for survey in surveys}) == 1
