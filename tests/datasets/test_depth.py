"""Images of more than eight bits: recognised in every format by what the file states, refused or scaled by arithmetic."""

import io
import struct
import zipfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from bcc_lightning.datamodules import CellFolder
from bcc_lightning.datasets.decoding import SUFFIXES, UnreadableImageError, decode
from bcc_lightning.datasets.npz import read_npz
from bcc_lightning.errors import UserError

COLOURS = np.random.default_rng(0).integers(0, 4096, (40, 40, 3), dtype=np.uint16)
"""RGB of 12 bits, as a microscope's camera gives it."""


def written(suffix: str, rgb: np.ndarray) -> bytes:
    """Write an array (H, W, 3) RGB, (H, W, 4) RGBA or (H, W) grey with OpenCV, which keeps 16 bits."""
    stored = rgb if rgb.ndim == 2 else rgb[..., [2, 1, 0, *range(3, rgb.shape[-1])]]
    done, content = cv2.imencode(suffix, np.ascontiguousarray(stored))
    assert done
    return content.tobytes()


@pytest.mark.parametrize("suffix", [".png", ".tif", ".ppm", ".jp2"])
def test_deep_colours_are_refused_in_every_format(suffix: str) -> None:
    with pytest.raises(UnreadableImageError, match=r"has 1[0-6] bits per channel; .*--data.bits N"):
        decode(written(suffix, COLOURS))


@pytest.mark.parametrize(("suffix", "image"), [(".png", COLOURS[..., 0]), (".pgm", COLOURS[..., 0]), (".tif", COLOURS[..., 0])])
def test_deep_grey_is_refused(suffix: str, image: np.ndarray) -> None:
    with pytest.raises(UnreadableImageError, match=r"has 1[0-6] bits per channel"):
        decode(written(suffix, image))


def test_deep_colours_with_transparency_are_refused() -> None:
    with pytest.raises(UnreadableImageError, match="has 16 bits per channel"):
        decode(written(".png", np.dstack([COLOURS, COLOURS[..., :1]])))


def test_depth_is_read_from_the_heads_of_other_formats() -> None:
    sgi, psd = io.BytesIO(), b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 4, 4, 16, 3) + bytes(4 + 4 + 4 + 2 + 96)
    Image.new("RGB", (4, 4)).save(sgi, "SGI")
    deep = bytearray(sgi.getvalue())
    deep[3] = 2  # bytes per channel
    for content in (bytes(deep), psd):
        with pytest.raises(UnreadableImageError):
            decode(content)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".ppm"])
def test_twelve_bits_are_scaled_linearly(suffix: str) -> None:
    expected = np.rint(COLOURS.astype(np.float64) * 255 / 4095)
    np.testing.assert_array_equal(decode(written(suffix, COLOURS), 12)[0], expected)


def test_grey_of_sixteen_bits_becomes_rgb() -> None:
    image = np.array([[0, 257], [65535, 32896]], np.uint16)  # 257 is 65535 / 255
    expected = np.array([[0, 1], [255, 128]], np.uint8)[..., None].repeat(3, axis=2)
    np.testing.assert_array_equal(decode(written(".png", image), 16)[0], expected)


def test_images_of_eight_bits_stay_as_they_are_among_deep_ones() -> None:
    image = (COLOURS >> 4).astype(np.uint8)
    np.testing.assert_array_equal(decode(written(".png", image), 12)[0], image)


def test_values_beyond_the_stated_bits_are_refused_with_the_bits_that_hold_them() -> None:
    with pytest.raises(
        UnreadableImageError, match=rf"^holds the value {COLOURS.max()}, more than 10 bits allow; use --data.bits 12"
    ):
        decode(written(".png", COLOURS), 10)


@pytest.mark.parametrize("bits", [7, 17])
def test_bits_that_cannot_be(tmp_path: Path, bits: int) -> None:
    with pytest.raises(UserError, match=f"--data.bits is {bits}"):
        CellFolder(root=str(tmp_path), bits=bits)


def test_a_folder_of_deep_images_trains_with_bits_and_says_so(tmp_path: Path) -> None:
    for place, name in enumerate(("blast", "other")):
        (tmp_path / "cells" / name).mkdir(parents=True)
        for number in range(10):
            file = tmp_path / "cells" / name / f"{number}.png"
            file.write_bytes(written(".png", (COLOURS + 1 + number + 20 * place).clip(0, 4095)))
    data = CellFolder(root=str(tmp_path / "cells"), image_size=40, bits=12)
    assert data.facts()["data.bits"] == "12"
    assert data.cells.take(slice(None)).max() == 255
    with pytest.raises(UserError, match=r"20 of 20 files cannot be read: .*16 bits per channel"):
        CellFolder(root=str(tmp_path / "cells"), image_size=40).setup()


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".jp2", ".pgm", ".tif", ".webp", ".qoi"])
def test_endings_that_pillow_reads(suffix: str) -> None:
    assert suffix in SUFFIXES


def test_formats_that_run_programs_or_are_only_recognised_are_no_images() -> None:
    assert not {".eps", ".ps", ".wmf", ".emf", ".h5", ".mpg", ".grib"} & SUFFIXES


def test_of_a_camera_s_jpeg_the_first_image_is_read() -> None:
    stream = io.BytesIO()
    first, second = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (16, 16), "blue")
    first.save(stream, "MPO", save_all=True, append_images=[second])
    pixels = decode(stream.getvalue())[0]
    assert (pixels[..., 0] > 200).all()
    assert (pixels[..., 2] < 60).all()


def png_head(side: int) -> bytes:
    """Write a PNG of a thousand bytes that promises a huge image."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("side", "size"), [(10_000, "10000 x 10000 pixels"), (20_000, "400,000,000 pixels")])
def test_image_bombs_are_refused_in_our_words(side: int, size: str) -> None:
    with pytest.raises(UnreadableImageError, match=f"has {size}, more than 64,000,000; crop single cells from it"):
        decode(png_head(side))


def npz_of(file: Path, shape: tuple[int, ...], content: bytes) -> Path:
    """Write an npz whose array promises a shape and holds other content."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", head.getvalue() + content)
    return file


def test_an_archive_that_promises_more_than_it_holds(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'images.npy' states 3,000,000,000,000 bytes"):
        read_npz(npz_of(tmp_path / "a.npz", (10**6, 1000, 1000, 3), b"few"), ["images"])


def test_an_archive_that_unpacks_to_far_more_than_images_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bcc_lightning.datasets.npz.SMALL", 10_000)
    with pytest.raises(UserError, match=r"packs 300,128 bytes of 'images.npy' into .*, too few for images"):
        read_npz(npz_of(tmp_path / "a.npz", (100, 1000, 3), bytes(300_000)), ["images"])


def test_an_archive_larger_than_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bcc_lightning.datasets.npz.free_memory", lambda: 1000)
    np.savez(tmp_path / "a.npz", images=np.random.default_rng(0).integers(0, 256, (1, 40, 40, 3), dtype=np.uint8))
    with pytest.raises(UserError, match="4,928 bytes unpacked, but 1,000 bytes of memory are free"):
        read_npz(tmp_path / "a.npz", ["images"])
