"""Every command says what is wrong, and what it takes, before anything heavy is imported."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bcc_lightning.__main__ import commands
from bcc_lightning.cli.help import WIDTH
from bcc_lightning.evaluate import main as evaluate
from bcc_lightning.export import main as export
from bcc_lightning.predict import main as predict

HEAVY = {"torch", "lightning", "numpy", "pandas", "mlflow", "timm", "albumentations", "sklearn", "matplotlib", "optuna", "cv2"}

PROGRAM = """
import contextlib, io, json, sys
from bcc_lightning.{command} import main
said = []
for argv in {calls!r}:
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        try:
            code = main(argv)
        except SystemExit as end:
            code = end.code
    said.append([code, text.getvalue()])
print(json.dumps([said, sorted({{name.partition('.')[0] for name in sys.modules}})]))
"""

NO_NETWORK = "name a trained network with --run R"

MISTAKES: dict[str, list[tuple[list[str], str]]] = {
    "fit": [
        (["--exp", "house", "--data.imagesize", "28"], "key 'data.imagesize' is not known; did you mean data.image_size?"),
        ([], "name an experiment with --exp NAME; there are: an2dl_cnn"),
        (["--exp", "house", "--data.augment", "standart"], "augmentation 'standart' does not exist; did you mean standard?"),
        (
            ["--exp", "house", "--data.augment", "mine.yaml"],
            "augmentation file mine.yaml does not exist; --data.augment takes none",
        ),
        (["--exp", "house", "--model.optimizer", "adamx"], "'lion', not 'adamx'; did you mean adam?"),
        (["--exp", "house", "--folds", "many"], "key 'folds' takes int, not 'many'"),
        (
            ["--exp", "house", "--trainer.accelerator", "gpuu"],
            "--trainer.accelerator is 'gpuu', it must be one of auto, cpu, gpu",
        ),
        (["--exp", "house", "--data.root", "nowhere"], "nowhere/bloodmnist.npz does not exist.\nNext step: place BloodMNIST's"),
    ],
    "predict": [
        (["x.png", "--ou", "a.csv"], "--ou is not an option of this command; did you mean --out?"),
        ([], "INPUT ... is missing: image files, folders"),
        (["x.png"], "--out FILE is missing: table that is written, .csv or .parquet. Example: python -m bcc_lightning.predict"),
        (["x.png", "--out", "a.csv", "--run", "a"], "x.png does not exist; name an image file, a folder, a table"),
        ([".", "--out", "a.csv", "--reference", "r.csv", "--run", "a"], "--reference r.csv does not exist; name a CSV file"),
        ([".", "--out", "a.csv", "--adapt", "scal", "--run", "a"], "--adapt scal does not exist; did you mean scale?"),
        ([".", "--out", "a.csv", "--pixel_size", "107"], "If these are nanometres, write 0.107"),
        ([".", "--out", "a.csv"], NO_NETWORK),
    ],
    "evaluate": [
        (["--hlp"], "--hlp is not an option of this command; did you mean --help? `python -m bcc_lightning.evaluate --help`"),
        (["--run", "a"], "--out DIR is missing: folder of evaluation.html"),
        (["--run", "a", "--out", "o", "--data", "CelFolder"], "class 'CelFolder' is not known; did you mean CellFolder?"),
        (["--run", "a", "--out", "o", "--data", "CellFolder", "--data.rot", "x"], "did you mean data.root? `python -m bcc_light"),
        (
            ["--run", "a", "--out", "o", "--data", "CellFolder", "--data.root", "x"],
            "x does not exist.\nNext step: place the data",
        ),
        (["--run", "a", "--out", "o", "--data.test_of", "[x]"], "did you mean --data.test_on?"),
    ],
    "compare": [
        (["--sett", "test"], "did you mean --set?"),
        (["--run", "a", "--run", "b"], "--out DIR is missing: folder that gets comparison.html"),
        (["--out", "o", "--run", "a", "--checkpoint", "no.ckpt"], "checkpoint no.ckpt does not exist; a finished run files one"),
    ],
    "explain": [
        (["x.png", "--metod", "gradcam"], "did you mean --method?"),
        (["x.png"], "--out DIR is missing: folder that gets the pages"),
        ([".", "--out", "o", "--run", "a", "--method", "gradcan"], "--method gradcan does not exist; did you mean gradcam?"),
        (["--faithfulness", "--masks", "m", "--out", "o", "--run", "a"], "--masks m does not exist; name a folder of images"),
    ],
    "export": [
        (["--fromat", "onnx"], "did you mean --format?"),
        (["--run", "a"], "--out FILE is missing: file that is written"),
        (["--run", "a", "--out", "o", "--format", "onx"], "--format takes one of 'onnx', 'pt2', not 'onx'; did you mean onnx?"),
        (["--run", "a", "--out", "o", "--format", "pt2", "--precision", "int8"], "--precision int8 goes with --format onnx only"),
    ],
    "serve": [
        (["--prot", "80"], "did you mean --port?"),
        ([], NO_NETWORK),
        (["--run", "a", "--port", "http"], "--port takes int, not 'http'"),
    ],
    "ensemble": [
        (["--wieghts", "fitted"], "key 'wieghts' is not known; did you mean weights?"),
        ([], "name members with --run and --checkpoint, or an experiment that names them. Example: "),
        (
            ["--run", "a", "--run", "b", "--weights", "fited"],
            "--weights takes one of 'equal', 'fitted', not 'fited'; did you mean",
        ),
    ],
    "embed": [
        (["--bakbone", "resnet18"], "did you mean --backbone?"),
        (["--run", "a", "--data", "SyntheticSmear"], "--out FILE is missing: file that is written, .parquet or .h5"),
        (["--run", "a", "--out", "a.parquet"], "name a data set with --data NAME"),
        (
            ["--run", "a", "--data", "SyntheticSmear", "--out", "a.csv"],
            "--out a.csv ends in '.csv'; it must end in .h5 or .parquet",
        ),
        *(
            (
                ["--run", "a", "--data", "SyntheticSmear", "--out", "a.h5", "--batch_size", size],
                f"--batch_size is {size}, it must be 1 or more",
            )
            for size in ("0", "-2")
        ),
    ],
    "probe": [
        (["--fold", "5"], "did you mean --folds?"),
        (["--run", "a", "--data", "SyntheticSmear"], "--out DIR is missing: folder of probe.html"),
        (["--out", "o", "--data", "SyntheticSmear"], "name a trained network with --run R, or a backbone with --backbone NAME"),
        (["--out", "o", "--data", "SyntheticSmear", "--run", "a", "--folds", "-1"], "--folds is -1; it must be 0, or a whole"),
        (
            ["--out", "o", "--data", "CellFolder", "--data.root", ".", "--data.leave_out", "east", "--run", "a", "--folds", "5"],
            "--folds 5 would train on cells of east, which --data.leave_out keeps for the test",
        ),
    ],
    "reproduce": [
        (["--outt", "o"], "did you mean --out?"),
        ([], "--out DIR is missing: folder that gets table.md, table.html and table.csv"),
    ],
    "tune": [
        (["--exp", "house", "--trails", "3"], "did you mean --trials?"),
        ([], "--exp NAME is missing: name or file of an experiment"),
        (["--exp", "hous"], "experiment 'hous' does not exist; did you mean house"),
        (["--exp", "house", "--data.root", "x"], "lists them; flags of the experiment go after --, as in: tune --exp NAME -- "),
        (["--exp", "house", "--sampler", "tpee"], "'nsga2', not 'tpee'; did you mean tpe?"),
        (["--exp", "house", "--space", "standart"], "--space 'standart' does not exist; did you mean standard?"),
        (["--exp", "house", "--metric", "test/accuracy"], "the test set is not used in a search"),
        (["--exp", "house", "--", "--model.optimizer", "adamx"], "'lion', not 'adamx'; did you mean adam?"),
    ],
    "data": [
        (["descrbe", "--root", "."], "data command 'descrbe' does not exist; did you mean describe?"),
        ([], "name what to do: describe, audit, balance, preview"),
        (["describe"], "name a folder with --root DIR, or a data set with --data NAME"),
        (["describe", "--rot", "."], "did you mean --root?"),
        (["preview", "--root", "."], "--out PATH is missing: PNG file or folder that is written"),
        (["preview", "--root", ".", "--out", "o", "--augment", "[standart]"], "did you mean standard?"),
        (["audit", "--root", "nowhere", "--out", "o"], "--root nowhere does not exist; name a folder of classes"),
        (["preview", "--root", ".", "--out", "o", "--per_class", "0"], "--per_class is 0, it must be 1 or more"),
        (["preview", "--root", ".", "--out", "o", "--per_class", "-3"], "--per_class is -3, it must be 1 or more"),
        (["preview", "--root", ".", "--out", "o", "--draws", "-1"], "--draws is -1, it must be 1 or more"),
        (["balance", "--root", ".", "--out", "o", "--seed", "-1"], "--seed is -1, it must be 0 or more"),
    ],
    "submission": [
        (["--chekpoint", "a.ckpt"], "did you mean --checkpoint?"),
        (["--checkpoint", "a.ckpt"], "--out FILE is missing: archive that is written, .zip"),
        (["--checkpoint", "a.ckpt", "--out", "o.zip"], "checkpoint a.ckpt does not exist"),
    ],
}


def test_all_commands_are_here() -> None:
    assert set(MISTAKES) == set(commands())


@pytest.mark.parametrize("command", MISTAKES)
def test_nothing_heavy_is_imported_for_help_and_mistakes(command: str) -> None:
    calls = [["--help"], *(argv for argv, _ in MISTAKES[command])]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(command=command, calls=calls)], capture_output=True, text=True, check=True
    )
    (helped, *answers), modules = json.loads(done.stdout)
    assert not HEAVY & set(modules)
    assert helped[0] == 0
    assert " ".join(helped[1].split()).startswith(commands()[command])
    assert f"Example: python -m bcc_lightning.{command} " in helped[1]
    assert [line for line in helped[1].splitlines() if len(line) > WIDTH and not line.startswith("Example: ")] == []
    for (argv, sentence), (code, answer) in zip(MISTAKES[command], answers, strict=True):
        assert code == 2, argv
        assert answer.startswith("error: "), argv
        assert sentence in answer, argv


def test_help_of_a_data_set_lists_each_key_once_and_none_of_training(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        evaluate(["--help"])
    keys = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  --data.")]
    assert len(keys) == len(set(keys))
    assert {"--data.root", "--data.test_on", "--data.crop"} <= set(keys)
    assert not {"--data.augment", "--data.balance", "--data.mixing"} & set(keys)


def test_help_tells_values_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        export(["--help"])
    assert end.value.code == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "--format onnx|pt2 pt2 is for torch.export.load [onnx]" in lines
    assert "--out FILE file that is written (required)" in lines
    assert "--tracking.folder TEXT local folder of the embedded store and of runs at work [mlruns]" in lines


def test_a_misspelt_file_is_answered_with_the_nearest_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "smear.png").touch()
    assert predict(["smaer.png", "--out", "a.csv", "--run", "a"]) == 2
    assert "smaer.png does not exist; did you mean smear.png? Name an image file" in capsys.readouterr().err
