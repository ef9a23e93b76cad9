"""An examiner's labels of single cells, beside what the network answered for the same cells."""

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bcc_lightning.differential.agreement import cell_kappa
from bcc_lightning.differential.reference import line_of, read_text_table
from bcc_lightning.errors import UserError
from bcc_lightning.files import write_csv
from bcc_lightning.printable import printable

PATH, LABEL = "path", "label"

FEWEST = 2


def read_cell_labels(file: Path, class_names: Sequence[str]) -> pd.Series | None:
    """Read an examiner's labels of single cells.

    Args:
        file: CSV with the columns ``path``, relative to its folder or absolute, and ``label``.
        class_names: classes of the network.

    Returns:
        Labels, with absolute paths as index; None where the file has no column ``path``, and so is a table of counts.

    Raises:
        UserError: the file cannot be read, a label is missing or no class, or a path is there twice.
    """
    table = read_text_table(file)
    table.columns = pd.Index([str(column).strip() for column in table.columns])
    if PATH not in table:
        return None
    if LABEL not in table:
        raise UserError(f"{file} has the column path but no column label; name the class of each cell there")
    labels = table[LABEL].str.strip()
    if (unknown := ~labels.isin(list(class_names))).any():
        found = printable(str(labels[unknown].iloc[0]))
        raise UserError(
            f"line {line_of(unknown)} of {file} has the label '{found}', which is not a class of the network "
            f"({', '.join(class_names)}); rename it, or remove the line"
        )
    paths = table[PATH].str.strip().map(lambda path: absolute(os.path.join(file.parent, path)))
    if (twice := paths.duplicated()).any():
        raise UserError(f"{file} has {printable(paths[twice].iloc[0])} twice (again in line {line_of(twice)}); keep one")
    return pd.Series(labels.to_numpy(), index=paths.to_numpy())


def compare_cells(answers: Path, labels: pd.Series, class_names: Sequence[str], out: Path) -> tuple[pd.DataFrame, str]:
    """Compare the answers for single cells with an examiner's labels.

    Args:
        answers: table that `predict` has written.
        labels: from `read_cell_labels`.
        class_names: classes of the network.
        out: CSV that gets the table.

    Returns:
        Cohen's kappa, see `bcc_lightning.differential.agreement.cell_kappa`, and a sentence on how many cells were compared.

    Raises:
        UserError: fewer than two of the labelled cells were classified.
    """
    columns = [PATH, "predicted"]
    if answers.suffix == ".parquet":
        found = pd.read_parquet(answers, columns=columns).fillna("")
    else:
        found = pd.read_csv(answers, usecols=columns, dtype=str, keep_default_na=False)
    found = found[found["predicted"] != ""]  # files that could not be read have no answer
    examiner = labels.reindex(found[PATH].map(absolute)).to_numpy()
    both = ~pd.isna(examiner)
    if both.sum() < FEWEST:
        first = f", e.g. {printable(str(labels.index[0]))}" if len(labels) else ""
        raise UserError(
            f"of the {len(labels):,} cells that the reference labels{first}, {int(both.sum())} were classified; "
            "its paths are relative to its folder"
        )
    table = cell_kappa(examiner[both].tolist(), found["predicted"][both].astype(str).tolist(), class_names)
    write_csv(table, out)
    return table, f"{int(both.sum()):,} of {len(found):,} classified cells and of {len(labels):,} labelled ones were compared"


def absolute(path: str) -> str:
    """Return the one spelling of a path by which two tables are joined."""
    return os.path.abspath(path)
