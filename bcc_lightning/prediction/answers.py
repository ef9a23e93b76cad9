"""The table of predictions, written row by row: what is there when a call is interrupted is whole, and can be completed."""

import csv
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from bcc_lightning.errors import UserError
from bcc_lightning.files import read_json, whole_file, write_json
from bcc_lightning.safe_names import column_name

FORMATS = (".csv", ".parquet")

FAMILIARITY = ("familiarity", "abstained")
"""Columns of a table of a network that may leave cells to a person: how familiar a cell is, and why no answer is given."""


class Answer(NamedTuple):
    """The answer for one cell.

    Attributes:
        path: its file.
        probabilities: C probabilities, float32; empty for a file that could not be read.
        error: why it could not be read; empty if it could.
        group: its slide, patient or other unit.
        familiarity: share of the network's own validation cells that are at least as strange, in (0, 1]; None where that was not
            asked for.
    """

    path: str
    probabilities: Sequence[np.float32] | npt.NDArray[np.float32]
    error: str = ""
    group: str = ""
    familiarity: float | None = None

    @property
    def label(self) -> int:
        """The most probable class."""
        return int(np.argmax(self.probabilities))

    @property
    def best_two(self) -> tuple[np.float32, np.float32]:
        """The largest probability and the second largest; their difference is the margin."""
        second, first = np.partition(np.asarray(self.probabilities, np.float32), -2)[-2:]
        return first, second


@dataclass(frozen=True)
class Heading:
    """What all rows of a table have in common; a table is only completed by a call that has the same.

    Attributes:
        network: run id, or hash of the file, of the network.
        class_names: names of the C classes.
        by: name of the column of slides, patients or other units; None for no such column.
        abstain: cells less familiar than this are left to a person; None for no such column.
    """

    network: str
    class_names: tuple[str, ...]
    by: str | None = None
    abstain: float | None = None

    def __post_init__(self) -> None:
        """Refuse a column of units that is called like one of the others."""
        if self.by in self.columns[:-1]:
            raise UserError(f"--by {self.by} is a column of the predictions already; give that column of the table another name")

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        classes, own = list(map(column_name, self.class_names)), [] if self.abstain is None else list(FAMILIARITY)
        return ["path", "predicted", "probability", *classes, "margin", "error", *own, *([self.by] if self.by else [])]

    def abstains(self, answer: Answer) -> bool:
        """Check whether a cell is left to a person."""
        return self.abstain is not None and answer.familiarity is not None and answer.familiarity < self.abstain

    def row(self, answer: Answer) -> list[str]:
        """Write an answer as the cells of a row; numbers have as many digits as tell all float32 apart."""
        own: list[str] = []
        if self.abstain is not None:
            known = answer.familiarity
            own = ["", ""] if known is None else [f"{known:.6g}", describe_strange(known) if self.abstains(answer) else ""]
        rest = [answer.error, *own, *([answer.group] if self.by else [])]
        if not len(answer.probabilities):
            return [answer.path, *[""] * (len(self.class_names) + 3), *rest]
        first, second = answer.best_two
        numbers = [str(value) for value in (first, *answer.probabilities, first - second)]
        return [answer.path, self.class_names[answer.label], *numbers, *rest]


class AnswerTable:
    """A table of predictions that is being written, as CSV or Parquet.

    Rows are written to a CSV file, a line each. For Parquet that is a draft beside the target, from which the target is made at
    the end, and also when the call is interrupted. Until the table is complete, a small file beside it says what it belongs to.

    Args:
        target: ``.csv`` or ``.parquet`` file.
        heading: what all rows have in common.

    Raises:
        UserError: the target has another ending.
    """

    def __init__(self, target: Path, heading: Heading) -> None:
        if target.suffix.lower() not in FORMATS:
            raise UserError(f"--out {target} must end in {' or '.join(FORMATS)}")
        self.target = target
        self.heading = heading
        self.is_parquet = target.suffix.lower() == ".parquet"
        self.rows_file = target.with_name(f".{target.name}.unfinished.csv") if self.is_parquet else target
        self.mark = target.with_name(f".{target.name}.unfinished.json")
        self._stream: IO[str] | None = None

    def begun(self) -> Iterator[Answer]:
        """Iterate over the rows that an interrupted call has left: none of another network or another way of counting."""
        if read_json(self.mark) != json.loads(json.dumps(asdict(self.heading))) or not self.rows_file.is_file():
            return
        drop_half_line(self.rows_file)
        classes = len(self.heading.class_names)
        with self.rows_file.open(encoding="utf-8", newline="") as stream:
            reader = csv.reader(stream)
            if next(reader, None) != self.heading.columns:
                return
            for row in reader:
                values = [np.float32(value) for value in row[3 : 3 + classes] if value]
                columns = dict(zip(self.heading.columns, row, strict=True))
                known = columns.get("familiarity")
                group = columns[self.heading.by] if self.heading.by else ""
                yield Answer(row[0], values, row[4 + classes], group, float(known) if known else None)

    def open(self, append: bool = False) -> Self:
        """Begin to write: anew, or behind the rows that an interrupted call has left."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.mark, asdict(self.heading))
        self._stream = self.rows_file.open("a" if append else "w", encoding="utf-8", newline="")
        if not append:
            csv.writer(self._stream).writerow(self.heading.columns)
        return self

    def write(self, answers: Sequence[Answer]) -> None:
        """Write rows; they are in the file when this returns."""
        assert self._stream is not None, "open first"  # noqa: S101 - tells the type checker
        csv.writer(self._stream).writerows(map(self.heading.row, answers))
        self._stream.flush()

    def close(self, complete: bool) -> None:
        """End writing: the target is valid, whether complete or not."""
        if self._stream is not None:
            self._stream.close()
        if self.is_parquet:
            write_parquet(self.rows_file, self.target, self.heading)
        if complete:
            self.mark.unlink(missing_ok=True)
            if self.is_parquet:
                self.rows_file.unlink(missing_ok=True)


def describe_strange(familiarity: float) -> str:
    """Describe why a cell is left to a person."""
    return f"stranger to the network than {100 * (1 - familiarity):.4g} % of its own cells"


def drop_half_line(file: Path) -> None:
    """Cut off what a killed process has written of its last line."""
    with file.open("r+b") as stream:
        end = stream.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 65_536)
            stream.seek(start)
            place = stream.read(end - start).rfind(b"\n")
            if place >= 0:
                stream.truncate(start + place + 1)
                return
            end = start
        stream.truncate(0)


def write_parquet(source: Path, target: Path, heading: Heading) -> None:
    """Write the rows of a CSV file as Parquet, a block at a time."""
    names = ("probability", "margin", "familiarity", *map(column_name, heading.class_names))
    numbers = {column: pa.float32() for column in names}
    schema = pa.schema([(column, numbers.get(column, pa.string())) for column in heading.columns])
    options = pyarrow.csv.ConvertOptions(
        column_types=dict(zip(schema.names, schema.types, strict=True)), strings_can_be_null=False
    )
    with whole_file(target) as draft, pyarrow.parquet.ParquetWriter(draft, schema) as writer:
        for block in pyarrow.csv.open_csv(source, convert_options=options):
            writer.write_batch(block)
