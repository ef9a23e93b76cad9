"""Counts of one or two examiners, read from a table."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bcc_lightning.errors import UserError
from bcc_lightning.printable import printable

LONG = ("slide", "class", "count")
OBSERVER = "observer"
OBSERVERS = 2
"""Most examiners of a reference; CLSI H20 has two, who count 200 cells each."""


def read_reference(file: Path, class_names: Sequence[str]) -> pd.DataFrame:
    """Read an examiner's counts.

    Args:
        file: CSV with the columns ``slide`` and one per class, or with ``slide``, ``class`` and ``count``; a class that is not
            counted may be left out. A column ``observer`` distinguishes two examiners.
        class_names: classes of the network.

    Returns:
        Whole numbers; the classes of the file are the columns, in the order of ``class_names``. The index is ``slide``, or
        ``observer`` and ``slide`` where the file has both.

    Raises:
        UserError: the file cannot be read, or has other columns or classes, counts that are not whole numbers, a slide twice, or
            more than two examiners.
    """
    table = read_text_table(file)
    table.columns = pd.Index([str(column).strip() for column in table.columns])
    index = [OBSERVER, "slide"] if OBSERVER in table and OBSERVER not in class_names else ["slide"]
    if "slide" not in table:
        raise UserError(
            f"{file} has no column 'slide', only {listed(table.columns)}; give the columns slide and one per class, "
            "or slide, class and count"
        )
    counts = counts_of(file, table, index, class_names)
    if counts.empty:
        raise UserError(f"{file} has no counts; give a row per slide")
    if index[0] == OBSERVER and (found := counts.index.get_level_values(OBSERVER).nunique()) > OBSERVERS:
        raise UserError(f"{file} has counts of {found} observers; at most {OBSERVERS} can be compared: keep their rows only")
    return counts[[name for name in class_names if name in counts]]


def read_text_table(file: Path) -> pd.DataFrame:
    """Read a CSV file as text, without guessing types or missing values."""
    try:
        return pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"there is no file {file}; --reference names a CSV with the counts of an examiner") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not a CSV in UTF-8: {printable(str(error))}; export it again from its source") from error


def counts_of(file: Path, table: pd.DataFrame, index: list[str], class_names: Sequence[str]) -> pd.DataFrame:
    """Return counts with a column per class, from either form of the file; arguments as in `read_reference`."""
    long = set(LONG) <= set(table.columns) and not {"class", "count"} & set(class_names)
    names = table["class"].str.strip() if long else table.columns.drop(index)
    if unknown := [name for name in dict.fromkeys(names) if name not in class_names]:
        raise UserError(
            f"{file} has counts of '{printable(unknown[0])}', which is not a class of the network ({', '.join(class_names)}); "
            "rename it, add it to a class, or remove it"
        )
    keys = table[index].apply(lambda column: column.str.strip())
    keys = keys.assign(**{"class": names}) if long else keys
    if (empty := keys.eq("").any(axis=1)).any():
        raise UserError(f"line {line_of(empty)} of {file} has no {' or no '.join(keys)}; fill it in, or remove the line")
    if (twice := keys.duplicated()).any():
        first = ", ".join(printable(str(value)) for value in keys[twice].iloc[0])
        raise UserError(f"{file} has {first} twice (again in line {line_of(twice)}); keep one")
    if long:
        cells = pd.Series(numbers(file, table["count"]).to_numpy(), index=pd.MultiIndex.from_frame(keys))
        return pd.DataFrame(cells.unstack("class", fill_value=0, sort=False))
    counts = pd.DataFrame({name: numbers(file, table[name]) for name in names})
    return counts.set_index(pd.MultiIndex.from_frame(keys) if len(index) > 1 else pd.Index(keys["slide"], name="slide"))


def numbers(file: Path, texts: pd.Series) -> pd.Series:
    """Return the counts of a column; a blank is 0."""
    values = pd.to_numeric(texts.str.strip().replace("", "0"), errors="coerce")
    wrong = values.isna() | (values < 0) | (values % 1 != 0)
    if wrong.any():
        raise UserError(
            f"line {line_of(wrong)} of {file} has the {texts.name} '{printable(texts[wrong].iloc[0])}'; "
            "counts are whole numbers from 0, not shares"
        )
    return values.astype("int64")


def line_of(rows: pd.Series) -> int:
    """Return the line of the first marked row, counted from 1 with the heading."""
    return int(rows.to_numpy().argmax()) + 2


def listed(columns: pd.Index) -> str:
    """List the names of columns."""
    return ", ".join(f"'{printable(str(column))}'" for column in columns)
