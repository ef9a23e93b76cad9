"""From files to a table: what cannot be read does not stop the rest, and what was interrupted is completed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bcc_lightning.errors import UserError
from bcc_lightning.prediction.answers import Answer, AnswerTable, Heading
from bcc_lightning.prediction.classifier import TrainedClassifier
from bcc_lightning.prediction.files import Tally, predict_files
from bcc_lightning.prediction.inputs import CellInputs
from tests.miniature import Colours, write_colours

CLASSES = ("red", "green", "blue")
NAMES = [f"smears/s{1 + number // 5}/{number:02}_{CLASSES[number % 3]}.png" for number in range(14)]


@pytest.fixture
def colours() -> TrainedClassifier:
    return TrainedClassifier(Colours(class_names=list(CLASSES), image_size=32), batch_size=4)


def table(out: str = "cells.csv", by: str | None = None, network: str = "a run") -> AnswerTable:
    return AnswerTable(Path(out), Heading(network, CLASSES, by))


def predict(colours: TrainedClassifier, out: str = "cells.csv", by: str | None = None, keep: int = 0) -> Tally:
    return predict_files(colours, CellInputs.of(["smears"], by), table(out, by), keep)


def read(out: str) -> pd.DataFrame:
    return pd.read_csv(out, dtype={"error": str}) if out.endswith(".csv") else pd.read_parquet(out)


@pytest.mark.parametrize("out", ["cells.csv", "cells.parquet"])
def test_a_row_per_cell_with_the_probabilities_of_the_network_to_the_last_bit(colours: TrainedClassifier, out: str) -> None:
    files = write_colours(Path(), NAMES)
    predict(colours, out)
    found = read(out)
    assert list(found.columns) == ["path", "predicted", "probability", *CLASSES, "margin", "error"]
    assert list(found["path"]) == NAMES
    assert list(found["predicted"]) == [CLASSES[number % 3] for number in range(14)]
    expected = colours.predict(files)
    for column in (*CLASSES, "probability", "margin"):
        assert np.array_equal(found[column].to_numpy(np.float32), expected[column].to_numpy(np.float32)), column
    assert found["error"].isin(["", np.nan]).all()
    assert sorted(path.name for path in Path().glob("*cells*")) == [out]


def test_files_that_cannot_be_read_do_not_stop_the_rest(colours: TrainedClassifier) -> None:
    write_colours(Path(), NAMES)
    Path("smears/s1/broken.png").write_bytes(Path(NAMES[0]).read_bytes()[:60])
    Path("smears/s2/text.jpg").write_text("not an image\nat all")
    Path("smears/s3/gone.png").symlink_to("nowhere")
    tally = predict(colours)
    found = read("cells.csv").set_index("path")
    assert (tally.cells, tally.unreadable) == (17, 3)
    bad = found[found["error"].notna()]
    assert sorted(bad.index) == ["smears/s1/broken.png", "smears/s2/text.jpg", "smears/s3/gone.png"]
    assert bad[["predicted", "probability", *CLASSES, "margin"]].isna().all(axis=None)
    assert bad.loc["smears/s3/gone.png", "error"] == "No such file or directory"
    assert list(found.loc[NAMES, "predicted"]) == [CLASSES[number % 3] for number in range(14)]
    assert found.loc[NAMES, "error"].isna().all()


@pytest.mark.parametrize("out", ["cells.csv", "cells.parquet"])
def test_an_interrupted_table_is_valid_and_completed(
    colours: TrainedClassifier, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    write_colours(Path(), NAMES)
    whole = read_after(colours, f"whole{Path(out).suffix}")
    write, written = AnswerTable.write, []

    def stop(self: AnswerTable, answers: Sequence[Answer]) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(answers)
        write(self, answers)

    with monkeypatch.context() as patch:
        patch.setattr(AnswerTable, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            predict(colours, out)
    pd.testing.assert_frame_equal(read(out), whole.iloc[:8])
    seen: list[int] = []
    monkeypatch.setattr(colours, "classify", lambda pixels, old=colours.classify: seen.append(len(pixels)) or old(pixels))
    tally = predict(colours, out)
    assert (tally.resumed, tally.cells, sum(seen)) == (8, 14, 6)
    pd.testing.assert_frame_equal(read(out), whole)
    assert not list(Path().glob(".*unfinished*"))


def read_after(colours: TrainedClassifier, out: str) -> pd.DataFrame:
    predict(colours, out)
    return read(out)


def interrupted(colours: TrainedClassifier, rows: int) -> None:
    """Leave what a killed process leaves after some rows: whole lines, half of one more, and the mark of an unfinished table."""
    predict(colours)
    lines = Path("cells.csv").read_text().splitlines(keepends=True)
    Path("cells.csv").write_text("".join(lines[: rows + 1]) + lines[rows + 1][:25])
    table().open(append=True)


def test_half_a_line_of_a_killed_process_is_written_anew(colours: TrainedClassifier) -> None:
    write_colours(Path(), NAMES)
    whole = read_after(colours, "whole.csv")
    interrupted(colours, 5)
    assert predict(colours).resumed == 5
    pd.testing.assert_frame_equal(read("cells.csv"), whole)


def test_a_table_of_other_cells_is_not_completed(colours: TrainedClassifier) -> None:
    write_colours(Path(), NAMES)
    interrupted(colours, 5)
    write_colours(Path(), ["smears/s0/00_red.png"])
    with pytest.raises(UserError, match=r"cells\.csv was begun with other cells: its row 1 is smears/s1/00_red\.png, now it is"):
        predict(colours)
    assert len(read("cells.csv")) == 5


def test_a_table_of_another_network_is_replaced(colours: TrainedClassifier) -> None:
    write_colours(Path(), NAMES)
    interrupted(colours, 5)
    tally = predict_files(colours, CellInputs.of(["smears"]), table(network="another run"))
    assert (tally.resumed, len(read("cells.csv"))) == (0, 14)


def test_cells_are_counted_by_slide_also_those_of_an_interrupted_call(colours: TrainedClassifier) -> None:
    write_colours(Path(), NAMES)
    expected = pd.DataFrame(
        {"red": [2, 2, 1], "green": [2, 1, 2], "blue": [1, 2, 1]}, index=["s1", "s2", "s3"]
    )  # 0 to 4, 5 to 9 and 10 to 13, in turn red, green, blue
    pd.testing.assert_frame_equal(predict(colours, by="slide").counts(), expected)
    assert list(read("cells.csv")["slide"]) == [f"s{1 + number // 5}" for number in range(14)]


def test_the_least_sure_cells_of_each_class_are_remembered() -> None:
    tally = Tally(list(CLASSES), keep=2)
    answers = [Answer(f"{p}.png", np.array([p, 1 - p, 0], np.float32)) for p in (0.9, 0.6, 0.7, 0.3, 0.8)]
    tally.add(answers, Heading("run", ("a", "b", "c")))
    assert [file for _, _, file in sorted(tally.least_sure["red"], reverse=True)] == ["0.6.png", "0.7.png"]
    assert [file for _, _, file in tally.least_sure["green"]] == ["0.3.png"]


def test_a_column_of_units_may_not_be_called_like_another() -> None:
    with pytest.raises(UserError, match="--by red is a column of the predictions already"):
        Heading("a run", CLASSES, "red")
    with pytest.raises(UserError, match=r"--out cells\.xlsx must end in \.csv or \.parquet"):
        table("cells.xlsx")
