"""The package from Python: five lines train, test and predict; names are loaded when they are used; errors speak Python."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import bcc_lightning as bcc
import bcc_lightning.errors as errors_module
import bcc_lightning.fit
from bcc_lightning.api import flags
from bcc_lightning.errors import UserError, in_python
from bcc_lightning.modules.checkpoint import save_classifier
from bcc_lightning.prediction.classifier import TrainedClassifier
from tests.miniature import COLOURS, Colours

ROOT = Path(__file__).parents[1]


@pytest.fixture
def colours() -> TrainedClassifier:
    return TrainedClassifier(Colours(class_names=["red", "green", "blue"], image_size=32).eval())


@pytest.fixture
def in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the command line that all other tests have."""
    monkeypatch.setattr(errors_module, "_commands", 0)


@pytest.mark.slow
def test_the_lines_of_the_readme_train_test_and_predict(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```python\n(import bcc_lightning as bcc\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = [line for line in block.splitlines() if line.strip()]
    assert len(lines) == 5
    names: dict[str, object] = {}
    exec(block, names)
    run, table = names["run"], names["table"]
    assert isinstance(run, type(bcc.runs()[0]))
    assert run.run_id == bcc.runs("quickstart")[0].run_id
    assert f"accuracy {run.metrics['test/accuracy']:.4f}" in repr(run)
    assert list(table["predicted"]) == [bcc.SyntheticSmear.class_names[i] for i in table.iloc[:, 3:-1].to_numpy().argmax(axis=1)]  # type: ignore[index]
    assert "predicted" in capsys.readouterr().out


def test_images_of_every_kind(colours: TrainedClassifier, tmp_path: Path) -> None:
    images = np.broadcast_to(COLOURS[:, None, None], (3, 40, 40, 3)).copy()
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for file, image in zip(files, images, strict=True):
        Image.fromarray(image).save(file)
    expected = ["red", "green", "blue"]
    assert list(colours.predict(images)["predicted"]) == expected
    assert list(colours.predict(list(images))["image"]) == [0, 1, 2]
    assert list(colours.predict(torch.from_numpy(images).permute(0, 3, 1, 2))["predicted"]) == expected
    assert list(colours.predict(files, batch_size=2)["predicted"]) == expected
    assert list(colours.predict(list(map(str, files)))["image"]) == list(map(str, files))
    assert list(colours.predict(files[1])["predicted"]) == list(colours.predict(images[1])["predicted"]) == ["green"]
    row = colours.predict(images[2]).iloc[0]
    softmax = np.exp((COLOURS[2] - 200.0) / 8) / np.exp((COLOURS[2] - 200.0) / 8).sum()
    assert [row["red"], row["green"], row["blue"]] == pytest.approx(list(softmax))
    assert row["probability"] == pytest.approx(softmax.max())


def test_images_of_several_sizes_keep_their_order(colours: TrainedClassifier) -> None:
    sizes = [(20, 20), (40, 50), (20, 20), (64, 30)]
    images = [np.broadcast_to(COLOURS[place % 3], (*size, 3)).copy() for place, size in enumerate(sizes)]
    assert list(colours.predict(images)["predicted"]) == ["red", "green", "blue", "red"]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 8, 3)), r"an image is float64 \(8, 8, 3\); it must be a file, or an array uint8"),
        (np.zeros((8, 8), np.uint8), r"it must be a file, or an array uint8 \(H, W, 3\)"),
        ("missing.png", "missing.png cannot be read"),
        (Path(__file__), "is not an image, or has an unknown format"),
    ],
)
def test_images_that_cannot_be_classified(colours: TrainedClassifier, image: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        colours.predict([image])  # type: ignore[list-item]


def test_a_checkpoint_is_loaded_with_its_classes(tmp_path: Path) -> None:
    module = bcc.PlainCNN(class_names=["a", "b"], image_size=32)
    save_classifier(module, tmp_path / "best.ckpt")
    loaded = bcc.load(tmp_path / "best.ckpt")
    assert repr(loaded) == "PlainCNN for 32 pixels and the classes a, b"
    image = np.random.default_rng(0).integers(256, size=(1, 32, 32, 3), dtype=np.uint8)
    expected = module.eval()(torch.from_numpy(image).permute(0, 3, 1, 2)).softmax(dim=1)
    assert loaded.predict(image)[["a", "b"]].to_numpy() == pytest.approx(expected.detach().numpy(), abs=1e-6)


def test_a_module_takes_classes_and_size_from_data() -> None:
    data = bcc.SyntheticSmear(image_size=48)
    module = bcc.PlainCNN.for_data(data, lr=0.5)
    assert (module.class_names, module.image_size, module.optimisation.lr) == (list(data.class_names), 48, 0.5)


def test_arguments_of_python_become_flags() -> None:
    overrides = {
        "data": {"class_path": "CellFolder", "root": Path("cells"), "class_map": {"NEUT": "neutrophil"}},
        "model": {"pretrained": False, "weights": None, "lr": 1e-4},
        "seed_everything": 3,
    }
    assert flags(overrides) == [
        *("--data=CellFolder", "--data.root=cells", '--data.class_map={"NEUT": "neutrophil"}'),
        *("--model.pretrained=false", "--model.weights=null", "--model.lr=0.0001", "--seed_everything=3"),
    ]


@pytest.mark.usefixtures("in_a_notebook")
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"trainer": {"max_epoch": 1}}, "^key 'trainer.max_epoch' is not known; did you mean trainer.max_epochs\\?"),
        ({"trainer": {"max_ep": 1}}, "^key 'trainer.max_ep' is not known"),
        ({"data": {"image_siz": 28}}, "^key 'data.image_siz' is not known; did you mean data.image_size\\?"),
    ],
)
def test_misspelt_arguments_are_refused(overrides: dict[str, Any], message: str) -> None:
    """An abbreviation is not taken for the argument that begins so."""
    with pytest.raises(UserError, match=message):
        bcc.fit("house", **overrides)


def test_experiments_are_listed() -> None:
    assert {"quickstart", "efficientswin", "as_published/efficientswin"} <= set(bcc.experiments())


@pytest.mark.parametrize(
    ("command_line", "python"),
    [
        ("--model.lr is -1, it must be 0 or more", "lr is -1, it must be 0 or more"),
        ("name it with --data.root DIR or BCC_DATA_DIR=PARENT", "name it with root=DIR or BCC_DATA_DIR=PARENT"),
        ("accept it with --data.verify_checksum false", "accept it with verify_checksum=False"),
        ("raise --trainer.max_epochs or --trainer.max_time", "raise trainer.max_epochs or trainer.max_time"),
        ("choose --model.schedule step, e.g. --model.milestones [50,75]", "choose schedule step, e.g. milestones [50,75]"),
        ("run `convmv -r --notest DIR` first", "run `convmv -r --notest DIR` first"),
        ("python -m bcc_lightning.fit --resume abc, or --exp NAME", "python -m bcc_lightning.fit --resume abc, or exp=NAME"),
    ],
)
def test_errors_name_arguments_of_python(command_line: str, python: str) -> None:
    assert in_python(command_line) == python


@pytest.mark.usefixtures("in_a_notebook")
def test_a_wrong_argument_is_named_as_python_spells_it() -> None:
    with pytest.raises(UserError, match=r"^batch_size is 0, it must be 1 or more$"):
        bcc.SyntheticSmear(batch_size=0)
    with pytest.raises(UserError, match=r"^loss is 'focl', it must be one of cross_entropy, focal; did you mean focal\?"):
        bcc.PlainCNN(class_names=["a", "b"], image_size=32, loss="focl")
    with pytest.raises(UserError, match=r"experiment 'quickstrat' does not exist; did you mean quickstart\?"):
        bcc.fit("quickstrat")


def test_the_module_of_the_command_is_called_like_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bcc_lightning.api.fit", lambda *given, **named: (given, named))
    module = sys.modules["bcc_lightning.fit"]
    assert module("quickstart", folds=3) == (("quickstart",), {"folds": 3})  # type: ignore[operator]
    assert bcc_lightning.fit.main is module.main


@pytest.mark.slow
def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    code = (
        "import sys, bcc_lightning as bcc; "
        "heavy = {'torch', 'lightning', 'mlflow', 'albumentations', 'matplotlib', 'pandas', 'numpy', 'jsonargparse'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules); "
        "assert {'fit', 'load', 'runs', 'experiments', 'EfficientSwin', 'BloodMNIST'} <= set(dir(bcc)); "
        "assert 'torch' not in sys.modules; "
        "bcc.EfficientSwin; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(ROOT), "PATH": ""}, timeout=120)


@pytest.mark.slow
def test_a_script_passes_strict_type_checks(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text('import bcc_lightning as bcc\n\nprint(bcc.load(bcc.fit("quickstart")).predict("cell.png"))\n')
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        str(script),
    ]  # with the cache of the project's own check, if there is one
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=500)
    assert done.stdout == "Success: no issues found in 1 source file\n", done.stdout
