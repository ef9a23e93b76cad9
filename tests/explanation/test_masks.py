"""Cells with masks: read by name, cropped and resized as their images, refused where they do not fit; scores by hand."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bcc_lightning.datasets.framing import fit_square
from bcc_lightning.errors import UserError
from bcc_lightning.explanation.masks import MaskedCells, fit_mask, mass_inside, pointing_game, read_masked_cells

MAP = np.array([[[0, 0, 0, 0], [0, 4, 3, 0], [0, 2, 1, 0], [0, 0, 0, 0]]], np.float32)
NUCLEUS = np.zeros((1, 4, 4), bool)
NUCLEUS[0, 1, 1:3] = True  # holds 4 and 3 of 10


def write_cell(folder: Path, name: str, height: int = 8, width: int = 8, mask: np.ndarray | None = None) -> None:
    """Write a pale image and its mask, by default a cell with a nucleus."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), 200, np.uint8)).save(folder / f"{name}.bmp")
    if mask is None:
        mask = np.zeros((height, width), np.uint8)
        mask[1:-1, 1:-1], mask[3:-3, 3:-3] = 128, 255
    Image.fromarray(mask).save(folder / f"{name}.png")


def read(folder: Path, side: int = 8, crop: int | None = None) -> MaskedCells:
    return read_masked_cells(folder, lambda image: fit_square(image, side, crop), crop, side)


def test_pointing_game_by_hand() -> None:
    outside = ~NUCLEUS
    np.testing.assert_array_equal(pointing_game(MAP, NUCLEUS), [1])
    np.testing.assert_array_equal(pointing_game(MAP, outside), [0])
    tied = MAP.copy()
    tied[0, 2, 1] = 4
    np.testing.assert_array_equal(pointing_game(tied, NUCLEUS), [0.5])
    np.testing.assert_array_equal(pointing_game(np.zeros_like(MAP), NUCLEUS), [2 / 16])


def test_mass_by_hand() -> None:
    np.testing.assert_allclose(mass_inside(MAP, NUCLEUS), [0.7])
    np.testing.assert_allclose(mass_inside(MAP, ~NUCLEUS), [0.3])
    np.testing.assert_allclose(mass_inside(np.zeros_like(MAP), NUCLEUS), [2 / 16])


def test_cells_are_read_by_name_from_all_folders(tmp_path: Path) -> None:
    write_cell(tmp_path / "b", "001")
    write_cell(tmp_path / "a", "007")
    found = read(tmp_path)
    assert found.names == ["a/007.bmp", "b/001.bmp"]
    assert found.images.shape == (2, 8, 8, 3)
    # of 64 pixels the cell has 6 x 6 and its nucleus 2 x 2
    assert [found.inside(part)[0].sum() for part in ("cell", "nucleus")] == [36, 4]


def test_a_mask_is_cropped_and_resized_as_its_image() -> None:
    """The middle 4 x 4 of a mask of 6 x 8; each block of 2 x 2 becomes one pixel with a value that the mask has."""
    mask = np.zeros((6, 8), np.uint8)
    mask[1:3, 2:4], mask[3:5, 4:6] = 128, 255
    np.testing.assert_array_equal(fit_mask(mask, 2, crop=4), [[128, 0], [0, 255]])
    assert set(np.unique(fit_mask(mask, 5, crop=None))) <= {0, 128, 255}
    # the image's own way, by which a bright square must come to lie in the same place
    image = np.repeat(mask[..., None], 3, axis=2)
    np.testing.assert_array_equal(fit_square(image, 4, crop=4)[..., 0], fit_mask(mask, 4, crop=4))


def refused(folder: Path, match: str, crop: int | None = None) -> None:
    with pytest.raises(UserError, match=match):
        read(folder, crop=crop)


def test_masks_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    write_cell(tmp_path / "size", "003", mask=np.full((8, 9), 255, np.uint8))
    refused(tmp_path / "size", r"003.png has 9 x 8 pixels, its image 003.bmp has 8 x 8; both must have the same size")
    write_cell(tmp_path / "values", "004", mask=np.arange(64, dtype=np.uint8).reshape(8, 8))
    refused(tmp_path / "values", r"004.png has 63 values .* the first is 1; allowed are 0 background, 128 cytoplasm, 255 nucleus")
    write_cell(tmp_path / "colour", "005", mask=np.dstack([np.full((8, 8), v, np.uint8) for v in (255, 0, 0)]))
    refused(tmp_path / "colour", r"005.png is coloured; a mask is grey")
    write_cell(tmp_path / "empty", "006", mask=np.zeros((8, 8), np.uint8))
    refused(tmp_path / "empty", r"006.png has no pixel of the cell")
    only_edge = np.zeros((8, 8), np.uint8)
    only_edge[0] = 255
    write_cell(tmp_path / "edge", "007", mask=only_edge)
    refused(tmp_path / "edge", r"007.png has no pixel of the cell in the part of the image that the network sees", crop=4)


def test_images_and_masks_without_the_other_are_refused_by_name(tmp_path: Path) -> None:
    write_cell(tmp_path / "no_mask", "008")
    (tmp_path / "no_mask/008.png").unlink()
    refused(tmp_path / "no_mask", r"image .*008.bmp has no mask 008.png beside it")
    write_cell(tmp_path / "no_image", "009")
    write_cell(tmp_path / "no_image", "010")
    (tmp_path / "no_image/010.bmp").unlink()
    refused(tmp_path / "no_image", r"mask .*010.png has no image of the same name")
    (tmp_path / "text").mkdir()
    (tmp_path / "text/001.bmp").write_text("text")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "text/001.png")
    refused(tmp_path / "text", r"001.bmp cannot be read \(is not an image")
    (tmp_path / "nothing").mkdir()
    refused(tmp_path / "nothing", r"has no images")
    refused(tmp_path / "away", r"away is not a folder; name a folder of images with masks")
