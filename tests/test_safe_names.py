"""Mappings of names: injective, exact both ways, and accepted by the places that they are made for."""

import re
from hashlib import sha256

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from mlflow.utils.validation import MAX_ENTITY_KEY_LENGTH, _validate_metric_name, _validate_param_name

from bcc_lightning.errors import UserError
from bcc_lightning.safe_names import (
    RESERVED_COLUMNS,
    class_of_column,
    column_name,
    file_name,
    metric_key,
    metric_of_key,
    name_of_file,
    parameter_key,
    refuse_names,
)

ANY = st.text(st.characters(exclude_categories=()))  # with halves of surrogate pairs and control characters
ODD = st.text(st.sampled_from([*"aA0+*/.: _-$%=~\\\x00\n\x1b\"'<>[]é\u0301\udcff"]))
LONG = st.text(st.sampled_from([*"a+/.é"]), min_size=80, max_size=400)
NAMES = ANY | ODD | LONG

PREFIXES = st.sampled_from(["", "test/recall/", "test_on/ward/recall/", "test_on/"])


@settings(deadline=None)
@given(PREFIXES, NAMES)
@example("test/recall/", "..")
@example("", "/")
def test_mlflow_takes_every_key(prefix: str, name: str) -> None:
    for key in (metric_key(prefix + name), parameter_key(prefix + name)):
        _validate_metric_name(key)
        _validate_param_name(key)
        assert 0 < len(key) <= MAX_ENTITY_KEY_LENGTH


@settings(deadline=None)
@given(PREFIXES, NAMES)
@example("test/recall/", ":colon:")
@example("test/recall/", "e\u0301")
def test_a_key_is_turned_back(prefix: str, name: str) -> None:
    key = metric_key(prefix + name)
    assert ":sha256-" in key or metric_of_key(key) == prefix + name
    assert ":sha256-" not in key or len(name) > 2


@settings(deadline=None)
@given(PREFIXES, st.lists(NAMES, min_size=2, max_size=6, unique=True))
@example("test/recall/", ["CD34+", "CD34*", "CD34_", "CD34:plus-sign:"])
@example("test/recall/", ["a/b", "a:solidus:b", "a//b", "./x", "x"])
@example("test/recall/", ["+" * 300, "+" * 301])
def test_no_two_names_share_a_place(prefix: str, names: list[str]) -> None:
    assert len({metric_key(prefix + name) for name in names}) == len(names)
    assert len({parameter_key(prefix + name) for name in names}) == len(names)
    assert len({column_name(name) for name in names}) == len(names)
    assert len({file_name(name) for name in names}) == len(names)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("test/accuracy", "test/accuracy"),
        ("test/recall/early blast_2.b-x", "test/recall/early blast_2.b-x"),
        ("test/recall/größer", "test/recall/größer"),
        ("test/recall/CD34+", "test/recall/CD34:plus-sign:"),
        ("test/recall/CD34*", "test/recall/CD34:asterisk:"),
        ("test/recall/blast/", "test/recall/blast:solidus:"),
        ("test/recall/./x", "test/recall/.:solidus:x"),
        ("test/recall/..", "test/recall/:full-stop::full-stop:"),
        ("test/recall/a:b", "test/recall/a:colon:b"),
        ("test/recall/\x1b", "test/recall/:u001b:"),
        ("test_on/ward #7/recall/CD34+", "test_on/ward :number-sign:7/recall/CD34:plus-sign:"),
        ("test_on/ward #7/accuracy", "test_on/ward :number-sign:7/accuracy"),
    ],
)
def test_keys_that_people_will_see(name: str, key: str) -> None:
    assert metric_key(name) == key
    assert metric_of_key(key) == name


def test_a_key_that_is_too_long_keeps_both_names_apart() -> None:
    name = f"test_on/{'s' * 200}/recall/{'c' * 200}"
    key = metric_key(name)
    assert re.fullmatch(r"test_on/s{75}:sha256-[0-9a-f]{16}:/recall/c{75}:sha256-[0-9a-f]{16}:", key)
    assert key != metric_key(f"{name}x") != metric_key(name.replace("s/", "t/"))


@settings(deadline=None)
@given(NAMES)
@example("Label")
@example("class:label")
@example("CLASS:label")
def test_columns(name: str) -> None:
    column = column_name(name)
    assert class_of_column(column) == name
    assert column.lower() not in RESERVED_COLUMNS


def test_columns_stay_as_they_are_where_they_can() -> None:
    assert [column_name(name) for name in ("blast", "label", "ID", "class:x")] == [
        "blast",
        "class:label",
        "class:ID",
        "class:class:x",
    ]


@settings(deadline=None)
@given(NAMES)
@example("con")
@example("COM1.txt")
@example(".hidden")
@example("a.")
def test_file_names(name: str) -> None:
    assume(name)
    written = file_name(name)
    assert len(written.encode()) <= 100
    assert re.fullmatch(r"[^\W]?[\w\-=~. ]*", written)
    assert written[0] not in ". "
    assert written[-1] not in ". "
    assert not re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d) *(\..*)?", written)
    assert name_of_file(written) == (written if "=~" in written else name)


def test_file_names_stay_as_they_are_where_they_can() -> None:
    assert file_name("Test-A 2.b_größer") == "Test-A 2.b_größer"
    assert [file_name(name) for name in ("a/b", "..", "=", "nul", "a" * 101)] == [
        "a=2Fb",
        "=2E=2E",
        "=3D",
        "=6Eul",
        "a" * 82 + "=~" + sha256(b"a" * 101).hexdigest()[:16],
    ]


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x1b[31m", "a\x00", "a\udcff", "a\u2028b"])
def test_names_that_cannot_be_written_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="rename it"):
        refuse_names(["blast", name])
    with pytest.raises(UserError, match="further test set"):
        refuse_names(["blast"], [name])


@pytest.mark.parametrize("twins", [("blast", "Blast"), ("caf\u00e9", "cafe\u0301"), ("a", "a"), ("Straße", "STRASSE")])
def test_names_that_some_file_systems_take_for_one_are_refused(twins: tuple[str, str]) -> None:
    with pytest.raises(UserError, match=f"{twins[0]}.*{twins[1]}"):
        refuse_names(twins)


def test_a_class_that_is_called_like_the_deviation_of_another() -> None:
    refuse_names(["blast", "blast_sd"])
    with pytest.raises(UserError, match="'blast' and 'blast_sd' would share a metric"):
        refuse_names(["blast", "blast_sd"], folds=True)
