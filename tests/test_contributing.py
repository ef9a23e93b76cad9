"""The tutorials of `docs/contributing` are run: their blocks become files, their tests pass, their commands end well."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
TUTORIALS = sorted((ROOT / "docs" / "contributing").glob("*.md"))

pytestmark = pytest.mark.slow


def files_of(tutorial: Path) -> dict[str, str]:
    """Map the names of a tutorial's files, which their first lines say, to their content."""
    blocks = re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", tutorial.read_text(encoding="utf-8"), re.DOTALL)
    return dict(blocks)


def commands_of(tutorial: Path) -> list[list[str]]:
    """List the commands of a tutorial."""
    (block,) = re.findall(r"```bash\n(.*?)```", tutorial.read_text(encoding="utf-8"), re.DOTALL)
    return [shlex.split(line) for line in block.splitlines()]


def paint_slides(folder: Path) -> None:
    """Paint the cells of twelve slides: three of each of two classes on each, as noise around a grey of the class."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for slide in range(12):
        for grey, name in ((90, "blast"), (160, "lymphocyte")):
            for number in range(3):
                image = generator.normal(grey, 20, (40, 40, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(image).save(folder / f"s{slide}_{name}_{number}.png")


def test_both_tutorials_are_there() -> None:
    assert [tutorial.stem for tutorial in TUTORIALS] == ["adding_a_data_set", "adding_an_architecture"]


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda tutorial: tutorial.stem)
def test_a_tutorial_works_as_it_is_written(tutorial: Path, tmp_path: Path) -> None:
    files = files_of(tutorial)
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    paint_slides(tmp_path / "slides")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, "PYTEST_ADDOPTS": "-p no:cacheprovider", "COLUMNS": "200"}
    for program, *arguments in commands_of(tutorial):
        assert program == "python"
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=500
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(r"\d+ passed" if "pytest" in arguments else r"finished: test accuracy \d", done.stdout), done.stdout


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda tutorial: tutorial.stem)
def test_a_tutorial_counts_its_files_and_lines(tutorial: Path) -> None:
    files = files_of(tutorial)
    lines = sum(bool(line.strip()) for content in files.values() for line in content.splitlines())
    assert f"{len(files)} files and {lines} lines" in tutorial.read_text(encoding="utf-8").replace("\n", " ")
