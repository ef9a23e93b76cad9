"""An examiner's counts: the files that are read and refused, and the comparison by class."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from bcc_lightning.differential.agreement import agree, by_slide, cell_kappa, read_reference, unmatched
from bcc_lightning.differential.counting import differential
from bcc_lightning.errors import UserError

CLASSES = ["neutrophil", "lymphocyte", "ig"]


def written(folder: Path, text: str) -> Path:
    """A file with a text."""
    file = folder / "reference.csv"
    file.write_text(text, encoding="utf-8")
    return file


def counts(*rows: tuple[int, ...], first: int = 1) -> pd.DataFrame:
    """A row of counts per slide, named from ``first``."""
    index = pd.Index([f"s{number}" for number in range(first, first + len(rows))], name="slide")
    return pd.DataFrame(np.array(rows), index=index, columns=CLASSES[: len(rows[0])])


def test_both_forms_of_a_file_give_the_same_counts(tmp_path: Path) -> None:
    wide = read_reference(written(tmp_path, "slide,ig,neutrophil\n s1 ,2,98\ns2,,100\n"), CLASSES)
    assert wide.columns.tolist() == ["neutrophil", "ig"]
    assert wide.to_dict("index") == {"s1": {"neutrophil": 98, "ig": 2}, "s2": {"neutrophil": 100, "ig": 0}}
    long = read_reference(written(tmp_path, "slide,class,count\ns1,ig,2\ns1,neutrophil,98\ns2,neutrophil,100\n"), CLASSES)
    pd.testing.assert_frame_equal(wide, long, check_names=False)


def test_two_observers_are_kept_apart(tmp_path: Path) -> None:
    table = read_reference(written(tmp_path, "observer,slide,neutrophil,ig\nA,s1,98,2\nB,s1,95,5\n"), CLASSES)
    assert table.index.tolist() == [("A", "s1"), ("B", "s1")]
    text = "observer,slide,class,count\nA,s1,ig,2\nA,s1,neutrophil,98\nB,s1,neutrophil,95\nB,s1,ig,5\n"
    pd.testing.assert_frame_equal(table, read_reference(written(tmp_path, text), CLASSES), check_names=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a CSV"),
        ("slide,neutrophil\n", "has no counts"),
        ("name,neutrophil\ns1,3\n", "no column 'slide', only 'name', 'neutrophil'"),
        ("slide,blast\ns1,3\n", "'blast', which is not a class of the network"),
        ("slide,class,count\ns1,blast,3\n", "'blast', which is not a class of the network"),
        ("slide,neutrophil\ns1,58.5\n", "line 2 .* the neutrophil '58.5'; counts are whole numbers"),
        ("slide,neutrophil\ns1,3\ns2,many\n", "line 3 .* 'many'"),
        ("slide,neutrophil\ns1,-1\n", "'-1'"),
        ("slide,neutrophil\ns1,inf\n", "'inf'"),
        ("slide,neutrophil\ns1,3\ns1,4\n", "s1 twice .again in line 3"),
        ("slide,neutrophil\n,3\n", "line 2 .* has no slide"),
        ("observer,slide,neutrophil\nA,s,3\nB,s,3\nC,s,3\n", "3 observers; at most 2"),
        ('slide,neutrophil\n"s1,3\n', "is not a CSV"),
    ],
)
def test_files_that_do_not_fit_are_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read_reference(written(tmp_path, text), CLASSES)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no file"):
        read_reference(tmp_path / "absent.csv", CLASSES)
    (tmp_path / "latin.csv").write_bytes("slide,neutrophil\nM\xfcller,3\n".encode("latin-1"))
    with pytest.raises(UserError, match="not a CSV in UTF-8"):
        read_reference(tmp_path / "latin.csv", CLASSES)


def test_agreement_by_hand() -> None:
    own = counts((60, 40), (50, 50), (80, 20), (70, 30))
    reference = counts((50, 50), (50, 50), (60, 40), (60, 40))
    table = agree(own, reference).set_index("class")
    row = table.loc["neutrophil"]
    # Differences 0.1, 0, 0.2, 0.1: mean 0.1, deviation 0.0816.
    assert row["slides"] == 4
    assert (row["counted"], row["reference"], row["bias"]) == pytest.approx((0.65, 0.55, 0.1))
    assert row["upper"] == pytest.approx(0.1 + 1.959964 * 0.0816497, abs=1e-6)
    assert row["bias_high"] == pytest.approx(0.1 + 3.182446 * 0.0816497 / 2, abs=1e-6)
    assert row["pearson"] == pytest.approx(4 / 20**0.5)  # deviations -5 -15 15 5 and -5 -5 5 5 %
    assert row["spearman"] == pytest.approx(0.894427, abs=1e-6)
    assert table.loc["lymphocyte", "bias"] == pytest.approx(-0.1)
    assert np.isnan(row["observers_bias"])


def test_the_classes_of_the_reference_are_the_whole_on_both_sides() -> None:
    own = counts((60, 20, 20), (30, 30, 40), (50, 25, 25))
    table = agree(own, counts((75, 25), (50, 50), (66, 33))).set_index("class")
    assert table.index.tolist() == ["neutrophil", "lymphocyte"]
    assert table["bias"].to_numpy() == pytest.approx(0, abs=1e-12)
    assert table["lin"].to_numpy() == pytest.approx(1)


def test_two_observers_are_pooled_and_compared() -> None:
    first, second = counts((60, 40), (50, 50), (80, 20)), counts((50, 50), (50, 50), (60, 40))
    reference = pd.concat({"A": first, "B": second}, names=["observer", "slide"])
    row = agree(counts((55, 45), (50, 50), (70, 30)), reference).iloc[0]
    assert row["bias"] == pytest.approx(0)
    assert row["observers_slides"] == 3
    assert row["observers_bias"] == pytest.approx(0.1)  # differences 0.1, 0, 0.2: deviation 0.1
    assert (row["observers_lower"], row["observers_upper"]) == pytest.approx((0.1 - 0.1959964, 0.1 + 0.1959964))
    alone = agree(counts((55, 45)), pd.concat({"A": first}, names=["observer", "slide"])).iloc[0]
    assert alone["observers_slides"] == 0


def test_slides_of_one_side_only_are_named() -> None:
    own = counts((60, 40), (50, 50), (0, 0), (10, 10))
    reference = counts((50, 50), (1, 1), (0, 0), (5, 5), first=2)
    assert agree(own, reference)["slides"].tolist() == [1, 1]  # only s2: s3 was not counted, and s4 is empty in the reference
    assert unmatched(own, reference) == [
        "1 slide was counted, but is not in the reference, and is not compared: s1.",
        "1 slide is in the reference, but was not counted, and is not compared: s5.",
        "2 slides have no cells of the compared classes and are not compared: s3, s4.",
    ]
    assert unmatched(own.iloc[:1], own.iloc[:1]) == []
    with pytest.raises(UserError, match=r"no slide is in both tables: the counted ones begin with 's1', .* 's11'"):
        agree(own, counts((5, 5), first=11))
    with pytest.raises(UserError, match="'lymphocyte', which was not counted"):
        agree(own[["neutrophil"]], reference)


def test_slides_that_are_numbers_are_found_in_a_file() -> None:
    own = counts((60, 40)).set_axis([7])
    assert agree(own, counts((50, 50), first=7).set_axis(pd.Index(["7"], name="slide")))["slides"].tolist() == [1, 1]
    assert unmatched(own, counts((50, 50)).set_axis(pd.Index(["7"], name="slide"))) == []


def test_a_single_slide_has_a_bias_only() -> None:
    row = agree(counts((60, 40)), counts((50, 50))).iloc[0]
    assert row["bias"] == pytest.approx(0.1)
    assert row.drop(["class", "slides", "counted", "reference", "bias", "observers_slides"]).isna().all()


def test_corrected_shares_can_be_compared() -> None:
    own = counts((60, 40), (50, 50))
    table = by_slide(differential(own, None), "share")
    assert table.to_numpy().tolist() == [[0.6, 0.4], [0.5, 0.5]]
    pd.testing.assert_frame_equal(agree(table, own), agree(own, own))


def test_a_class_without_corrected_shares_is_left_out_on_both_sides_and_named() -> None:
    own = counts((60, 20, 20), (30, 30, 40), (50, 25, 25))
    table = agree(own.astype(float).assign(ig=np.nan), own)
    assert table["class"].tolist() == ["neutrophil", "lymphocyte"]
    assert table["bias"].to_numpy() == pytest.approx(0, abs=1e-12)
    assert unmatched(own.assign(ig=np.nan), own) == ["ig has no shares to compare: its confusions are unknown."]


def test_kappa_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(3)
    examiner = generator.choice(CLASSES, 300, p=[0.6, 0.3, 0.1])
    predicted = np.where(generator.random(300) < 0.8, examiner, generator.choice(CLASSES, 300))
    table = cell_kappa(list(examiner), list(predicted), CLASSES).set_index("class")
    assert table.loc["all", "kappa"] == pytest.approx(cohen_kappa_score(examiner, predicted))
    assert table.loc["all", "agreement"] == (examiner == predicted).mean()
    for name in CLASSES:
        assert table.loc[name, "kappa"] == pytest.approx(cohen_kappa_score(examiner == name, predicted == name))
        assert table.loc[name, "cells"] == ((examiner == name) | (predicted == name)).sum()
        assert table.loc[name, "kappa_low"] < table.loc[name, "kappa"] < table.loc[name, "kappa_high"]


def test_kappa_without_disagreement_to_expect_is_unknown() -> None:
    assert cell_kappa(["ig"] * 4, ["ig"] * 4, CLASSES)["kappa"].isna().all()
    assert cell_kappa([], [], CLASSES)["kappa"].isna().all()
    with pytest.raises(UserError, match="'blast'"):
        cell_kappa(["blast"], ["ig"], CLASSES)
