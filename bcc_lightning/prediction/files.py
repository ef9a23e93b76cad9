"""From many files to a table of predictions, a batch at a time: memory does not grow with their number."""

import heapq
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from bcc_lightning.datasets.left_out import LeftOut
from bcc_lightning.errors import UserError
from bcc_lightning.prediction.adaptation import MOST
from bcc_lightning.prediction.answers import Answer, AnswerTable, Heading
from bcc_lightning.prediction.choices import STDIN
from bcc_lightning.prediction.classifier import Pixels, TrainedClassifier, UnreadableFileError
from bcc_lightning.prediction.inputs import CellInputs
from bcc_lightning.prediction.tables import Cell

NAMED = 3
"""Unreadable files that a message names."""

AHEAD = 2
"""Batches that are read while the network computes."""


Familiar: TypeAlias = Callable[[Pixels], npt.NDArray[np.float64]]
"""Gives the familiarity (N,) of cells (N, S, S, 3)."""

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
        familiarity: of each cell that could be read, where that was asked for.
        abstained: number of cells that are left to a person; they are not in `by_group`.
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
    familiarity: list[float] = field(default_factory=list)
    abstained: int = 0
    least_sure: dict[str, list[Unsure]] = field(default_factory=dict)

    def add(self, answers: Iterable[Answer], heading: Heading) -> None:
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
            if answer.familiarity is not None:
                self.familiarity.append(answer.familiarity)
            if heading.abstains(answer):
                self.abstained += 1
                continue
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


def predict_files(
    classifier: TrainedClassifier, inputs: CellInputs, table: AnswerTable, keep: int = 0, familiar: Familiar | None = None
) -> Tally:
    """Classify the cells of an input and write them to a table; an interrupted table is completed.

    Args:
        classifier: the trained network.
        inputs: the cells.
        table: gets a row per cell.
        keep: how many of the least sure cells of each class are remembered.
        familiar: gives the familiarity (N,) of cells (N, S, S, 3); None where it is not asked for.

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
        tally.add([answer], table.heading)
    tally.resumed = tally.cells
    first = list(islice(cells, 1))
    if not (tally.resumed or first):
        raise UserError("there is no image to classify: the inputs name none, or their folders hold none")
    complete = False
    table.open(append=tally.resumed > 0)
    try:
        with tqdm(desc="classifying", unit=" images", initial=tally.resumed, disable=None, leave=False) as bar:
            for answers in answered(classifier, chain(first, cells), familiar):
                table.write(answers)
                tally.add(answers, table.heading)
                bar.update(len(answers))
        complete = True
    finally:
        table.close(complete)
    return tally


def sample(classifier: TrainedClassifier, inputs: CellInputs, most: int = MOST) -> Pixels:
    """Read some of the cells of an input, each with the same chance; files that cannot be read are skipped.

    Args:
        classifier: reads them as its run did.
        inputs: the cells.
        most: cells at most.

    Returns:
        (N, S, S, 3) uint8.

    Raises:
        UserError: the cells can be read once only.
    """
    if STDIN in inputs.inputs:
        raise UserError("--adapt reads the cells twice, and a list on standard input can be read once; name a table instead of -")
    inputs = replace(inputs, left_out=LeftOut())  # which counts for itself what is left out
    draw, drawn = np.random.default_rng(0), []
    for number, cell in enumerate(inputs):  # reservoir sampling: an input may be longer than memory
        place = number if number < most else int(draw.integers(number + 1))
        if number < most:
            drawn.append(cell)
        elif place < most:
            drawn[place] = cell
    images = []
    for cell in drawn:
        with suppress(UnreadableFileError):
            images.append(classifier.square(cell.path, cell.pixel_size))
    return np.stack(images) if images else np.empty((0, classifier.side, classifier.side, 3), np.uint8)


def answered(classifier: TrainedClassifier, cells: Iterator[Cell], familiar: Familiar | None = None) -> Iterator[list[Answer]]:
    """Classify cells batch by batch; the next batches are read in threads while the network computes."""

    def read(cell: Cell) -> Pixels | str:
        """Read an image, or return why it cannot be read."""
        try:
            return classifier.square(cell.path, cell.pixel_size)
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
            yield answer_batch(classifier, batch, [future.result() for future in futures], familiar)


def answer_batch(
    classifier: TrainedClassifier, cells: list[Cell], images: list[Pixels | str], familiar: Familiar | None = None
) -> list[Answer]:
    """Classify one batch; what is a text instead of an image is why it could not be read."""
    readable = [image for image in images if not isinstance(image, str)]
    rows = iter(classifier.classify(np.stack(readable)).numpy() if readable else ())
    known = iter(familiar(np.stack(readable)).tolist() if readable and familiar else ())
    return [
        Answer(printed(cell.path), (), image, cell.group)
        if isinstance(image, str)
        else Answer(printed(cell.path), next(rows), "", cell.group, next(known, None))
        for cell, image in zip(cells, images, strict=True)
    ]


def printed(path: str) -> str:
    """Return a path as a line of a table can hold it: line breaks and bytes that are not UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace").replace("\n", "\\n").replace("\r", "\\r")
