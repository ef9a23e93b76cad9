"""The command `predict`, on a run that was trained on image files."""

import io
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import cohen_kappa_score

from bcc_lightning.files import write_json
from bcc_lightning.predict import main
from bcc_lightning.prediction.answers import AnswerTable, Heading
from bcc_lightning.tracking.finished_runs import find_run
from bcc_lightning.tracking.settings import Tracking

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("painted_folder")]


NAMES = {f"class_{number}" for number in range(8)}


def run(painted_folder: Path, *argv: str) -> int:
    return main([*argv, "--run", "efficientnet_b0", "--tracking.folder", str(painted_folder / "mlruns")])


def test_the_test_set_gets_its_filed_probabilities_to_the_last_bit(
    painted_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(painted_folder, str(painted_folder / "cells/test"), "--out", "cells.parquet", "--sheet", "sheet.png") == 0
    assert "37 cells classified, written to cells.parquet" in capsys.readouterr().out
    filed = pd.read_parquet(find_run(Tracking(folder=str(painted_folder / "mlruns")), "efficientnet_b0").predictions())
    found = pd.read_parquet("cells.parquet")
    assert [str(painted_folder / "cells" / name) for name in filed["id"]] == list(found["path"])
    classes = [f"class_{number}" for number in range(8)]
    assert np.array_equal(filed[classes].to_numpy(), found[classes].to_numpy())
    assert Path("sheet.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_smears_are_counted_beside_an_examiner(painted_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The painted classes stand for slides: five cells in each of the first five, four in the others."""
    Path("examiner.csv").write_text("slide,class_0,class_1\nclass_0,5,0\nclass_1,0,5\nward,1,1\n")
    flags = ["--by", "slide", "--reference", "examiner.csv"]
    assert run(painted_folder, str(painted_folder / "cells/test"), "--out", "cells.v2.csv", *flags) == 0
    table = pd.read_csv("cells.v2.differential.csv")
    assert table.groupby("slide")["count"].sum().to_dict() == {f"class_{number}": 5 if number < 5 else 4 for number in range(8)}
    assert table["corrected"].notna().any()
    assert {"cells.v2.differential.png", "cells.v2.agreement.csv", "cells.v2.agreement.png"} <= {p.name for p in Path().iterdir()}
    out = capsys.readouterr().out
    assert "class_0: 5 cells" in out
    assert "ward" in out  # a slide that only the examiner has


def test_the_hundred_per_cent_are_the_named_classes(painted_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--out", "cells.csv", "--by", "slide"]
    assert run(painted_folder, str(painted_folder / "cells/test"), *flags) == 0
    counts = pd.read_csv("cells.csv").groupby(["slide", "predicted"]).size()
    first = counts.groupby("predicted").sum().idxmax()
    slide = counts.xs(first, level="predicted").index[0]
    second, other = sorted(NAMES - {first})[:2]
    Path("examiner.csv").write_text(f"slide,{first},{second},{other}\n{slide},5,1,9\n")
    named = ["--of", f" {first.upper()},{second}", "--reference", "examiner.csv"]
    assert run(painted_folder, str(painted_folder / "cells/test"), *flags, *named) == 0
    table = pd.read_csv("cells.differential.csv").set_index(["slide", "class"])
    for (where, name), row in table.iterrows():
        whole = sum(counts.get((where, one), 0) for one in (first, second))
        assert row["count"] == counts.get((where, name), 0)
        assert row["share"] == pytest.approx(row["count"] / whole, rel=1e-5) if whole else np.isnan(row["share"])
    agreement = pd.read_csv("cells.agreement.csv").set_index("class")
    assert {name for _, name in table.index} == set(agreement.index) == {first, second}
    assert agreement.loc[first, "reference"] == pytest.approx(5 / 6)
    assert run(painted_folder, str(painted_folder / "cells/test"), "--out", "cells.csv", *named) == 2
    assert "add --by slide" in capsys.readouterr().err


def test_cells_are_compared_one_by_one_with_an_examiners_labels(painted_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The examiner says what the cells are; scikit-learn computes kappa of the two."""
    files = sorted((painted_folder / "cells/test").rglob("*.png"))
    labels = pd.DataFrame({"path": files, "label": [file.parent.name for file in files]})
    labels[:30].to_csv("examiner.csv", index=False)
    flags = ["--out", "cells.csv", "--reference", "examiner.csv"]
    assert run(painted_folder, str(painted_folder / "cells/test"), *flags) == 0
    answers = pd.read_csv("cells.csv").set_index("path").loc[list(map(str, files[:30])), "predicted"]
    table = pd.read_csv("cells.kappa.csv").set_index("class")
    assert table.loc["all", "kappa"] == pytest.approx(cohen_kappa_score(labels["label"][:30], answers))
    assert table.loc["all", "cells"] == 30
    assert "30 of 37 classified cells and of 30 labelled ones were compared" in capsys.readouterr().out
    labels.assign(label="blast").to_csv("other.csv", index=False)
    assert run(painted_folder, str(files[0]), "--out", "one.csv", "--reference", "other.csv") == 2
    assert "line 2 of other.csv has the label 'blast', which is not a class of the network" in capsys.readouterr().err
    assert not Path("one.csv").exists()


def test_unreadable_files_are_counted_and_give_exit_code_1(painted_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("cells").mkdir()
    Path("cells/a.png").write_text("text")
    Path("cells/b.png").write_bytes(next((painted_folder / "cells/test").rglob("*.png")).read_bytes())
    assert run(painted_folder, "cells", "--out", "out/cells.csv") == 1
    caught = capsys.readouterr()
    assert "error: 1 of 2 files could not be read: cells/a.png (is not an image" in caught.err
    assert "1 cells classified" in caught.out
    assert pd.read_csv("out/cells.csv")["error"].notna().tolist() == [True, False]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["cells", "--out", "c.csv", "--run", "mouse"], "no finished run 'mouse'"),
        (["cells", "--out", "c.txt", "--run", "efficientnet_b0"], "--out c.txt must end in .csv or .parquet"),
        (["cells", "--out", "c.csv"], "name a trained network with --run R"),
        (["cells", "--out", "c.csv", "--checkpoint", "away.ckpt"], "checkpoint away.ckpt does not exist"),
        (["cells", "--out", "c.csv", "--run", "efficientnet_b0", "--run", "efficientnet_b0"], "this command takes one"),
        (["away", "--out", "c.csv", "--run", "efficientnet_b0"], "away does not exist"),
        (["empty", "--out", "c.csv", "--run", "efficientnet_b0"], "there is no image to classify"),
        (["cells", "--out", "c.csv", "--nonsense", "1"], "--nonsense is not an option of this command"),
        (["cells", "--run", "efficientnet_b0"], "out"),
    ],
)
def test_mistakes(painted_folder: Path, capsys: pytest.CaptureFixture[str], argv: list[str], message: str) -> None:
    for folder in ("cells", "empty"):
        Path(folder).mkdir()
    Path("cells/b.png").write_bytes(next((painted_folder / "cells/test").rglob("*.png")).read_bytes())
    assert main([*argv, "--tracking.folder", str(painted_folder / "mlruns")]) == 2
    assert message in capsys.readouterr().err
    assert not list(Path().glob("*.csv"))


def test_unfamiliar_cells_are_left_to_a_person(painted_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Noise is unlike painted cells: most of it is left out of the count, and the alarm is raised."""
    draw = np.random.default_rng(0)
    folder = Path("noise/slide")
    folder.mkdir(parents=True)
    for number in range(60):
        Image.fromarray(draw.integers(0, 256, (32, 32, 3)).astype(np.uint8)).save(folder / f"{number:02d}.png")
    assert run(painted_folder, "noise", "--out", "noise.csv", "--by", "slide", "--abstain", "0.1") == 0
    table = pd.read_csv("noise.csv")
    left = table["abstained"].notna()
    assert (left == (table["familiarity"] < 0.1)).all()
    assert left.mean() > 0.8
    assert table.loc[left, "abstained"].str.match(r"stranger to the network than [\d.]+ % of its own cells").all()
    counted = pd.read_csv("noise.differential.csv")["count"].sum() if (~left).any() else 0
    assert counted == (~left).sum()
    out = capsys.readouterr().out
    assert f"{left.sum()} cells" in out
    assert "Alarm after" in out
    # The features of its own cells are kept by the run, so that the next call needs no training cells.
    assert find_run(Tracking(folder=str(painted_folder / "mlruns")), "efficientnet_b0").has("novelty.npz")


def test_interrupted_tables_with_familiarity_are_completed(painted_folder: Path) -> None:
    cells = str(painted_folder / "cells/test")
    assert run(painted_folder, cells, "--out", "whole.csv", "--abstain", "0.1") == 0
    whole = Path("whole.csv").read_text().splitlines(keepends=True)
    assert run(painted_folder, cells, "--out", "half.csv", "--abstain", "0.1") == 0
    mark = AnswerTable(Path("half.csv"), Heading("", ("a",))).mark
    found = find_run(Tracking(folder=str(painted_folder / "mlruns")), "efficientnet_b0")
    classes = tuple(f"class_{number}" for number in range(8))
    write_json(mark, asdict(Heading(found.run_id, classes, abstain=0.1)))
    Path("half.csv").write_text("".join(whole[:17]))  # one batch of 16
    assert run(painted_folder, cells, "--out", "half.csv", "--abstain", "0.1") == 0
    assert Path("half.csv").read_text() == "".join(whole)


def test_adaptation_says_what_it_has_done(painted_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = str(painted_folder / "cells/test")
    assert run(painted_folder, cells, "--out", "plain.csv") == 0
    assert run(painted_folder, cells, "--out", "adapted.csv", "--adapt", "bn,prior") == 0
    assert "Adapted by bn, prior to 37 of these cells, without their labels. So few cells can make" in capsys.readouterr().out
    plain, adapted = pd.read_csv("plain.csv"), pd.read_csv("adapted.csv")
    assert list(plain["path"]) == list(adapted["path"])
    assert not np.allclose(plain["probability"], adapted["probability"])


def test_shares_of_an_adapted_network_are_not_corrected_by_its_confusions_before(
    painted_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = str(painted_folder / "cells/test")
    assert run(painted_folder, cells, "--out", "adapted.csv", "--adapt", "bn", "--by", "slide") == 0
    assert pd.read_csv("adapted.differential.csv")["corrected"].isna().all()
    assert "not corrected: what the network confuses is known only from before --adapt" in capsys.readouterr().out


def test_deep_images_get_advice_that_predict_takes(painted_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.full((32, 32), 4000, np.uint16)).save("deep.png")
    assert run(painted_folder, "deep.png", "--out", "deep.csv") == 1
    assert "predict takes no --data.bits: save the images with 8 bits, or train the run with it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--abstain", "5"], "--abstain is 5.0, it must be above 0 and below 1"),
        (["--abstain", "0.03"], "--abstain 0.03 needs 33 validation cells or more, but there are 24"),
        (["--adapt", "size"], "--adapt size does not exist"),
        (["--batch_size", "0"], "--batch_size is 0, it must be 1 or more"),
        (["--batch_size", "-1"], "--batch_size is -1, it must be 1 or more"),
    ],
)
def test_what_cannot_be_asked_for(
    painted_folder: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(painted_folder, str(painted_folder / "cells/test"), "--out", "x.csv", *flags) == 2
    assert message in capsys.readouterr().err
    assert not Path("x.csv").exists()


def test_a_list_that_can_be_read_once_is_not_adapted_to(
    painted_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a.png\n"))
    assert run(painted_folder, "-", "--out", "x.csv", "--adapt", "bn") == 2
    assert "--adapt reads the cells twice" in capsys.readouterr().err
