"""Compare finished runs on the cells that all of them answered for: what they filed is read, nothing is classified again."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bcc_lightning.engine.comparable import read_comparable
from bcc_lightning.engine.comparison import Comparison
from bcc_lightning.engine.comparison_page import write_comparison
from bcc_lightning.engine.repetitions import repetitions, seeds_of
from bcc_lightning.evaluation.comparison import compare_answers
from bcc_lightning.evaluation.metrics import TEST, VALIDATION, in_words
from bcc_lightning.evaluation.reliability import RESAMPLES
from bcc_lightning.files import refuse_unwritable_folder
from bcc_lightning.safe_names import class_of_column
from bcc_lightning.tracking.recipe import flatten
from bcc_lightning.tracking.trained_networks import TrainedNetwork


def compare(networks: Sequence[TrainedNetwork], out: Path | None = None, name: str = TEST, root: str | None = None) -> Comparison:
    """Compare networks on the cells of one set, which all of them answered for.

    Args:
        networks: two or more networks with runs; cross-validations, too.
        out: folder that gets ``comparison.json``, ``.html``, ``.md``, ``.csv`` and sheets of cells; None to write nothing.
        name: the set: ``test``, ``validation`` or a further test set that all runs have.
        root: folder of the cells if it has moved since the runs; only the sheets of cells need it.

    Raises:
        UserError: the networks cannot be compared; the message says what differs.
    """
    if out is not None:
        refuse_unwritable_folder("--out", out)
    networks = list(networks)
    tables = read_comparable(networks, name)
    repeated = seeds_of(networks)
    columns = list(tables[0].columns[1:])
    class_names = list(map(class_of_column, columns))
    places = {class_name: number for number, class_name in enumerate(class_names)}
    label = np.array([places[text] for text in tables[0]["label"]], np.int64)
    probabilities = [table[columns].to_numpy(np.float32) for table in tables]
    pairs = list(combinations(range(len(networks)), 2))
    if repeated:  # seeds of one experiment repeat it; the question is between experiments
        pairs = [pair for pair in pairs if repeated[pair[0]] != repeated[pair[1]]]
    over, notes = repetitions(networks, label, probabilities, name)
    found = Comparison(
        name,
        networks,
        class_names,
        answers_table(tables[0], networks, class_names, label, probabilities),
        compare_answers(label, probabilities, class_names, pairs),
        over,
        differing_configuration(networks),
        [*cautions(networks, name), *notes],
    )
    if out is not None:
        write_comparison(found, out, root)
    return found


def answers_table(
    first: pd.DataFrame,
    networks: Sequence[TrainedNetwork],
    class_names: Sequence[str],
    label: npt.NDArray[np.int64],
    probabilities: Sequence[npt.NDArray[np.float32]],
) -> pd.DataFrame:
    """Lay out what each network answered for each cell, see `Comparison.answers`."""
    right = np.stack([probability.argmax(axis=1) == label for probability in probabilities])
    columns: dict[str, Any] = {"id": first.index, "label": first["label"].to_numpy(), "differ": ~(right.all(0) | ~right.any(0))}
    for network, probability, hits in zip(networks, probabilities, right, strict=True):
        run = str(network.run_id)[:8]
        columns[f"predicted_{run}"] = np.array(class_names, object)[probability.argmax(axis=1)]
        columns[f"probability_{run}"] = probability.max(axis=1)
        columns[f"true_probability_{run}"] = probability[np.arange(len(label)), label]
        columns[f"right_{run}"] = hits
    return pd.DataFrame(columns)


def differing_configuration(networks: Sequence[TrainedNetwork]) -> dict[str, list[str | None]]:
    """List the keys of the resolved configurations that differ, with the value of each network; None where it has no such key."""
    flat = [{key: value for key, value in flatten(network.config or {}).items() if key != "exp"} for network in networks]
    keys = dict.fromkeys(key for one in flat for key in one)
    values = {key: [one.get(key) for one in flat] for key in keys}
    differing = {key: found for key, found in values.items() if len(set(found)) > 1}
    return dict(sorted(differing.items(), key=lambda item: None in item[1]))  # keys that all have come first


def cautions(networks: Sequence[TrainedNetwork], name: str) -> list[str]:
    """Describe how these figures came about, as far as a reader should know."""
    found = [
        f"Intervals of differences: {RESAMPLES:,} draws of cells with replacement from {in_words(name)}, the same cells for all "
        "networks (paired percentile bootstrap; not drawn class by class, since the number of cells of a class is chance too). "
        "They cover the choice of cells, not what another training of the same recipe would have given."
    ]
    if name == VALIDATION:
        found.append("The validation set chose the weights of each run, so that these figures are optimistically biased.")
    if any(network.folds for network in networks):
        found.append(
            "Of a cross-validation each cell counts once, with the answer of the fold that it was held out from; where several "
            "folds answered for a cell, with the mean of their probabilities. The networks of the folds share training cells, "
            "which the intervals and McNemar's test over cells do not know of."
        )
    summaries = [network.summary for network in networks if network.summary]
    if any(summary.identity.get("groups", "none") != "none" for summary in summaries):
        found.append(
            "The cells come in groups, such as patients or slides. Cells of one group resemble one another, so that intervals "
            "over single cells are too narrow, and tests too sure."
        )
    if name in {TEST, VALIDATION} and len({summary.data.get("split.sha256") for summary in summaries}) > 1:
        found.append(f"The runs have the same cells in {in_words(name)}, but divide the other cells differently.")
    return found
