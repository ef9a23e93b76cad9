"""Pipelines from mappings and YAML files: what is changed, and which mistakes are refused with which message."""

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from bcc_lightning.errors import UserError
from bcc_lightning.transforms.pipelines import make_pipeline, pipeline_steps
from bcc_lightning.transforms.recipes import NEAREST, PIPELINES, PURPOSES


def transforms(augment: str | dict[str, Any]) -> dict[str, Any]:
    pipeline = make_pipeline(augment)
    assert pipeline is not None
    return {type(transform).__name__: transform for transform in pipeline.transforms}


def test_an_override_changes_one_value_and_leaves_the_others() -> None:
    before, after = (
        transforms("standard"),
        transforms({"name": "standard", "Affine": {"rotate": [-45, 45]}, "ColorJitter": {"p": 1.0}}),
    )
    assert after["Affine"].rotate == (-45, 45)
    assert after["Affine"].scale == before["Affine"].scale
    assert (before["ColorJitter"].p, after["ColorJitter"].p) == (0.7, 1.0)
    assert transforms("standard")["Affine"].rotate == (-20, 20)  # the recipe itself is untouched


def test_own_transforms_can_be_overridden() -> None:
    assert transforms({"name": "stain", "StainJitter": {"blue": [0.5, 2]}})["StainJitter"].blue == (0.5, 2.0)


def test_a_users_own_steps_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "steps:\n  - HorizontalFlip: {p: 1.0}\n  - VerticalFlip\n  - OneOf: {transforms: [Transpose: {p: 1}], p: 0}\n"
    )
    assert list(transforms(str(file))) == ["HorizontalFlip", "VerticalFlip", "OneOf"]
    pipeline = make_pipeline({"steps": [{"HorizontalFlip": {"p": 1.0}}]})
    assert pipeline is not None
    image = np.arange(28 * 28 * 3, dtype=np.uint32).astype(np.uint8).reshape(28, 28, 3)
    np.testing.assert_array_equal(pipeline(image=image)["image"], image[:, ::-1])


def test_overrides_reach_into_choices_and_files(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("steps: [SomeOf: {n: 1, transforms: [Affine: {rotate: [0, 0]}, HorizontalFlip: {}]}]\n")
    assert transforms({"name": str(file), "Affine": {"rotate": [-5, 5]}})["SomeOf"].transforms[0].rotate == (-5, 5)


def test_examples_of_the_documentation_work() -> None:
    text = (Path(__file__).parents[2] / "docs" / "pipelines.md").read_text()
    examples = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        assert make_pipeline(yaml.safe_load(example)["augment"]) is not None


def test_the_table_of_the_documentation_says_what_the_list_of_names_says() -> None:
    text = (Path(__file__).parents[2] / "docs" / "pipelines.md").read_text()
    table = re.findall(r"^\| `(\w+)` \| (.*?) \|", text, flags=re.MULTILINE)
    assert [(name, purpose.replace("`", "")) for name, purpose in table] == list(PURPOSES.items())
    assert list(PURPOSES) == list(PIPELINES)


def test_the_number_of_the_border_is_opencvs() -> None:
    assert cv2.BORDER_REPLICATE == NEAREST


@pytest.mark.parametrize("name", PIPELINES)
def test_every_named_pipeline_can_be_written_as_steps(name: str) -> None:
    assert str(make_pipeline({"steps": pipeline_steps(name)})) == str(make_pipeline(name))


@pytest.mark.parametrize(
    ("augment", "words"),
    [
        ("heavy", ["augmentation 'heavy' does not exist. --data.augment takes none, light, standard, stain"]),
        ("missing.yaml", ["augmentation file missing.yaml does not exist", "none, light"]),
        ({"name": "standart"}, ["augmentation 'standart' does not exist"]),
        ({"Affine": {"p": 1}}, ["names neither a pipeline nor steps", "name:", "steps:"]),
        (
            {"name": "standard", "Afine": {}},
            ["augmentation 'standard' has no transform 'Afine'", "Affine, ColorJitter", "steps:"],
        ),
        ({"name": "none", "Affine": {}}, ["it has no steps"]),
        ({"name": "standard", "Affine": 3}, ["transform 'Affine' takes parameters, not 3"]),
        ({"name": "standard", "Affine": {"rotation": 3}}, ["transform 'Affine' has no parameter 'rotation'", "scale", "rotate"]),
        (
            {"name": "standard", "Affine": {"rotate": "much"}},
            ["transform 'Affine' refuses", "rotate 'much'", "correct the value"],
        ),
        ({"name": "standard", "ColorJitter": {"p": 1.5}}, ["transform 'ColorJitter' refuses", "p 1.5"]),
        ({"name": "standard", "ColorJitter": {"brightness": [-1, 1]}}, ["transform 'ColorJitter' refuses", "[-1, 1]"]),
        (
            {"name": "stain", "StainJitter": {"blue": [2, 1]}},
            ["transform 'StainJitter' refuses", "blue must be a number from 2 to"],
        ),
        ({"name": "stain", "StainJitter": {"red": 2}}, ["red must be two numbers", "not 2"]),
        ({"name": "stain", "SlightDefocus": {"p": 2}}, ["p must be a number from 0 to 1, not 2"]),
        ({"name": "an2dl_randaugment", "RandAugment": {"magnitude": 3}}, ["magnitude must be a number from 0 to 1, not 3"]),
        ({"name": "an2dl_kerascv", "AugMix": {"depth": 2}}, ["transform 'AugMix' refuses", "depth"]),
        ({"steps": [{"Afine": {}}]}, ["transform 'Afine' is not known; did you mean Affine", "StainJitter"]),
        ({"steps": [{"Affine": {}, "Blur": {}}]}, ["is not understood", "Affine: {p: 0.5}"]),
        ({"steps": "Affine"}, ["steps are 'Affine', they must be a list of transforms; see docs/pipelines.md"]),
        ({"steps": [], "name": "light"}, ["has steps and 'name'; write steps: alone"]),
        ({"steps": [{"OneOf": {}}]}, ["takes a list of steps under transforms"]),
        (
            {"steps": [{"Resize": {"height": 28, "width": 28}}]},
            ["transform 'Resize' turns a uint8 image of (33, 33, 3)", "(28, 28, 3)"],
        ),
        ({"steps": [{"Normalize": {}}]}, ["transform 'Normalize' turns", "float32", "keep size and type"]),
        ({"steps": [{"RandomCrop": {"height": 64, "width": 64}}]}, ["transform 'RandomCrop' fails on an image of 28 x 28"]),
        ({"steps": [{"Resize": {"height": 28}}]}, ["transform 'Resize' refuses {height: 28}"]),
    ],
)
def test_mistakes_are_refused(augment: str | dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        make_pipeline(augment)
    message = str(caught.value)
    assert [word for word in words if word not in message] == []
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- Affine\n", "must hold name: or steps:"),
        ("name: [\n", "is not valid YAML"),
        ("name: light\nAffine: {}\n", "has no transform 'Affine'"),
    ],
)
def test_mistakes_in_a_file_name_the_file(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=f"mine.yaml.*{expected}"):
        make_pipeline(str(file))


def test_files_cannot_name_each_other_in_a_circle(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"name: {file}\n")
    with pytest.raises(UserError, match=r"mine.yaml has name: .*mine.yaml; write one of none, light"):
        make_pipeline(str(file))
