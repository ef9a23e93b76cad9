"""From many files to a table of predictions, a batch at a time: memory does not grow with their number."""

import heapq
import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TypeAlias

import numpy as np
import pandas as pd
from tqdm import tqdm

from bcc_lightning.errors import UserError
from bcc_lightning.prediction.answers import Answer, AnswerTable
from bcc_lightning.prediction.classifier import Pixels, TrainedClassifier, UnreadableFileError
from bcc_lightning.prediction.inputs import Cell, CellInputs

NAMED = 3
"""Unreadable files that a message names."""

AHEAD = 2
"""Batches that are read while the network computes."""


Unsure: TypeAlias = tuple[float, int, str]
"""A cell whose classification is doubtful: minus its margin, its row, and its file."""


@dataclass
class Tally:
    """What has been classified so far.

    Attributes:
        class_names: names of the C classes.
        cells: number of rows.
        unreadable: number of files that could not be read.
        first_unreadable: the first of these, each with the reason.
        resumed: rows that an interrupted call had written.
        by_group: number of cells of each class, by slide, patient or other unit in the order in which they came.
        least_sure: for each class the cells that were assigned to it with the smallest margin, as many as `keep`.
        keep: how many of these.
    """

    class_names: list[str]
    keep: int = 0
    cells: int = 0
    unreadable: int = 0
    first_unreadable: list[str] = field(default_factory=list)
    resumed: int = 0
    by_group: dict[str, Counter[str]] = field(default_factory=dict)
    least_sure: dict[str, list[Unsure]] = field(default_factory=dict)

    def add(self, answers: Iterable[Answer]) -> None:
        """Count answers."""
        for answer in answers:
            self.cells += 1
            if answer.error:
                self.unreadable += 1
                if len(self.first_unreadable) < NAMED:
                    self.first_unreadable.append(f"{answer.path} ({answer.error})")
                continue
            first, second = answer.best_two
            predicted = self.class_names[answer.label]
            self.by_group.setdefault(answer.group, Counter())[predicted] += 1
            unsure, one = self.least_sure.setdefault(predicted, []), (-float(first - second), self.cells, answer.path)
            if len(unsure) < self.keep:
                heapq.heappush(unsure, one)
            elif self.keep:
                heapq.heappushpop(unsure, one)

    def counts(self) -> pd.DataFrame:
        """Return the number of cells of each class (columns) by slide, patient or other unit (rows)."""
        rows = [[counter[name] for name in self.class_names] for counter in self.by_group.values()]
        return pd.DataFrame(rows, index=list(self.by_group), columns=self.class_names, dtype=np.int64)


def predict_files(classifier: TrainedClassifier, inputs: CellInputs, table: AnswerTable, keep: int = 0) -> Tally:
    """Classify the cells of an input and write them to a table; an interrupted table is completed.

    Args:
        classifier: the trained network.
        inputs: the cells.
        table: gets a row per cell.
        keep: how many of the least sure cells of each class are remembered.

    Returns:
        What has been classified.

    Raises:
        UserError: an input cannot be read; files that cannot are rows with an error.
    """
    tally, cells = Tally(classifier.class_names, keep), iter(inputs)
    for answer in table.begun():
        cell = next(cells, None)
        if cell is None or (printed(cell.path), cell.group) != (answer.path, answer.group):
            raise UserError(
                f"{table.target} was begun with other cells: its row {tally.cells + 1} is {answer.path}, now it is "
                f"{cell.path if cell else 'none'}. Name the same cells to complete it, or delete {table.mark} to begin anew"
            )
        tally.add([answer])
    tally.resumed = tally.cells
    first = list(islice(cells, 1))
    if not (tally.resumed or first):
        raise UserError("there is no image to classify: the inputs name none, or their folders hold none")
    complete = False
    table.open(append=tally.resumed > 0)
    try:
        with tqdm(desc="classifying", unit=" images", initial=tally.resumed, disable=None, leave=False) as bar:
            for answers in answered(classifier, chain(first, cells)):
                table.write(answers)
                tally.add(answers)
                bar.update(len(answers))
        complete = True
    finally:
        table.close(complete)
    return tally


def answered(classifier: TrainedClassifier, cells: Iterator[Cell]) -> Iterator[list[Answer]]:
    """Classify cells batch by batch; the next batches are read in threads while the network computes."""

    def read(cell: Cell) -> Pixels | str:
        """Read an image, or return why it cannot be read."""
        try:
            return classifier.square(cell.path)
        except UnreadableFileError as error:
            return " ".join(error.reason.split())

    waiting: deque[tuple[list[Cell], list[Future[Pixels | str]]]] = deque()
    with ThreadPoolExecutor() as pool:
        while True:
            while len(waiting) <= AHEAD and (batch := list(islice(cells, classifier.batch_size))):
                waiting.append((batch, [pool.submit(read, cell) for cell in batch]))
            if not waiting:
                return
            batch, futures = waiting.popleft()
            yield answer_batch(classifier, batch, [future.result() for future in futures])


def answer_batch(classifier: TrainedClassifier, cells: list[Cell], images: list[Pixels | str]) -> list[Answer]:
    """Classify one batch; what is a text instead of an image is why it could not be read."""
    readable = [image for image in images if not isinstance(image, str)]
    rows = iter(classifier.classify(np.stack(readable)).numpy() if readable else ())
    return [
        Answer(printed(cell.path), (), image, cell.group)
        if isinstance(image, str)
        else Answer(printed(cell.path), next(rows), "", cell.group)
        for cell, image in zip(cells, images, strict=True)
    ]


def printed(path: str) -> str:
    """Return a path as a line of a table can hold it: line breaks and bytes that are not UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace").replace("\n", "\\n").replace("\r", "\\r")
