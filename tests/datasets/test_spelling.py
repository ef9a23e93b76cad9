"""One thing under several spellings is one thing, for names of classes, groups, sets and files alike."""

import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bcc_lightning.datasets.classes import canonical, find_classes
from bcc_lightning.datasets.spelling import displayed, file_key, merge_spellings, set_name, spelling_key
from bcc_lightning.datasets.splits import SplitPlan, divide
from bcc_lightning.datasets.table import read_groups
from bcc_lightning.errors import UserError

ONE = (
    ("7", "7.0", "7,00", "007", "+7", " 7 ", "7.", "７"),
    ("P7", "p7", "P007", " P7", "P7\t", "p\u200b7", "Ｐ7"),
    ("1.5", "1.50", "1,5", "01.5"),
    ("1000", "1000.0", "1e+03"),
    ("-3", "\u22123", "-3.0"),
    ("blast", "Blast", "BLAST ", "\ufeffblast", "blast\u00a0"),
    ("größe", "GRÖSSE", "gro\u0308ße"),
    ("CD34+", "cd34\u207a"),
    ("CD34-", "CD34\u2013"),
    ("early  blast", "early blast", "Early\u2003blast"),
    ("slide 2024-01-05", "Slide 2024-1-5"),
)
"""Spellings of one thing, a row each; no two rows are the same thing."""


@pytest.mark.parametrize("spellings", ONE)
def test_spellings_of_one_thing_have_one_key(spellings: tuple[str, ...]) -> None:
    assert len(set(map(spelling_key, spellings))) == 1


def test_different_things_have_different_keys() -> None:
    different = [row[0] for row in ONE]
    different += ["1.05", "1,000", "10", "70", "P70", "P7.0", "0.7", "7a", "v1.05", "v1.5", "CD34", "early_blast", "ı"]
    assert len(set(map(spelling_key, different))) == len(different)


def test_numbers_of_files_are_no_numbers() -> None:
    assert file_key("c007.png") != file_key("c7.png")
    assert file_key("7") != file_key("07")
    assert file_key("C007 .PNG") == file_key(" c007 .png")


@given(st.text(max_size=12))
def test_a_key_is_its_own_key(text: str) -> None:
    assert spelling_key(spelling_key(text)) == spelling_key(text)
    assert spelling_key(displayed(text)) == spelling_key(text)


SPELL = (
    str,
    lambda name: f" {name} ",
    str.upper,
    str.lower,
    lambda name: unicodedata.normalize("NFD", name),
    lambda name: f"\u200b{name}\u00a0",
    lambda name: name.replace("é", "e\u0301").replace(" 0", " 000"),
)
NUMBERED = (str, "{}.0".format, "0{}".format, "+{}".format, "{},00".format)


@settings(max_examples=40, deadline=None)
@given(st.integers(30, 60), st.booleans(), st.integers(0, 2**31))
def test_a_patient_never_stands_on_two_sides_whatever_the_spelling(patients: int, as_numbers: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    true = np.repeat(np.arange(patients), rng.integers(2, 6, patients))
    names = [str(patient) if as_numbers else f"José 0{patient}" for patient in true]
    spellings = [
        (NUMBERED if as_numbers else SPELL)[row](name) for row, name in zip(rng.integers(0, 5, len(names)), names, strict=True)
    ]
    groups, group_names, _ = read_groups(Path("cells.csv"), pa.chunked_array([spellings]))
    assert len(group_names) == patients
    codes = divide(SplitPlan(seed=seed % 1000), rng.integers(0, 2, len(true)), groups=groups, group_names=group_names)
    assert all(len(set(codes[true == patient].tolist())) == 1 for patient in range(patients))


def test_the_spelling_with_most_cells_is_the_name_and_of_equals_the_first() -> None:
    counts = {"Blast": 3, "blast": 2, " blast": 2, "b": 1, "B": 1, "7.0": 5, "7": 1, "007": 2}
    chosen = merge_spellings(counts)
    assert {name: chosen[name] for name in counts} == {
        "Blast": "blast",  # 2 + 2 cells without and with a blank
        "blast": "blast",
        " blast": "blast",
        "b": "B",
        "B": "B",
        "7.0": "7",  # 5 + 1
        "7": "7",
        "007": "7",
    }


def test_known_names_win() -> None:
    found = find_classes({"NE ": 9, "Neutrophils": 2, "x": 4, "ＢＡ": 1}, None, "a set")
    assert found.names == ("basophil", "neutrophil", "x")
    assert found.labels == {"NE ": 1, "Neutrophils": 1, "x": 2, "ＢＡ": 0}
    assert found.notices == ("The classes 'NE ' (9 cells) and 'Neutrophils' (2 cells) are read as one, neutrophil.",)
    assert canonical(" immature  Granulocytes") == "ig"
    assert canonical("Blast ") == "Blast "


def test_wanted_classes_keep_their_order_and_others_have_no_label() -> None:
    found = find_classes({"Blast": 1, "rare": 2, "OTHER": 3}, ("other", "blast"), "a set")
    assert found.names == ("other", "blast")
    assert found.labels == {"Blast": 1, "rare": None, "OTHER": 0}


@pytest.mark.parametrize(
    ("counts", "wanted", "message"),
    [
        ({"bl\nast": 1, "x": 1}, None, r"a set holds the class 'bl\\nast', which has control characters"),
        ({"\x1b[31mred": 1, "x": 1}, None, r"the class '\\x1b\[31mred', which has control characters"),
        ({" \u200b": 1, "x": 1}, None, r"the class ' \\u200b', which is empty; rename it"),
        ({"x": 1}, ("Blast", "blast "), "names 'Blast' and 'blast ', which are the same class; name each class once"),
    ],
)
def test_names_that_are_refused(counts: dict[str, int], wanted: tuple[str, ...] | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find_classes(counts, wanted, "a set")


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("train", "train Train TRAINING trainset train_data Training-Set train_images Balanced_Train 01_train"),
        ("val", "val Val VALID validation dev dev_set Valid-data VALIDATION_SET"),
        ("test", "test Test testing Test-A Test-B test_1 TestA testset TEST_DATA tests"),
        (None, "invalid tester evaluation holdout blast trained contest device protest 7"),
    ],
)
def test_names_of_sets(name: str | None, names: str) -> None:
    assert {one: set_name(one) for one in names.split()} == dict.fromkeys(names.split(), name)
