"""Which runs can be compared: those with the same cells, labels and classes in a set, from the same data."""

from collections.abc import Sequence

import pandas as pd

from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.metrics import TEST, VALIDATION, in_words
from bcc_lightning.safe_names import class_of_column
from bcc_lightning.tracking.trained_networks import TrainedNetwork

FEWEST = 2

NAMED = 3
"""Classes or cells that a message names."""


def read_comparable(networks: Sequence[TrainedNetwork], name: str) -> list[pd.DataFrame]:
    """Read what networks answered for the cells of a set, in the same order of cells and classes.

    Args:
        networks: the networks.
        name: the set.

    Returns:
        For each network a table with the index ``id``, the column ``label`` and a column of probabilities per class; all have
        the same index, the same labels and the same columns.

    Raises:
        UserError: they cannot be compared; the message says what differs, and the next step.
    """
    refuse_too_few(networks)
    refuse_without(networks, name)
    tables = [by_cell(network.predictions(name)) for network in networks]
    first, *others = zip(networks, tables, strict=True)
    for other in others:
        refuse_other_classes(first, other)
        refuse_other_cells(first, other, name)
        refuse_other_labels(first, other, name)
        if name in {TEST, VALIDATION}:
            refuse_other_data(first[0], other[0], name)
    cells, columns = tables[0].index, tables[0].columns
    return [table.loc[cells, columns] for table in tables]


def by_cell(table: pd.DataFrame) -> pd.DataFrame:
    """Reduce a table to one row per cell: where several folds answered for it, the mean of their probabilities."""
    if not table["id"].duplicated().any():
        return table.set_index("id")
    cells = table.groupby("id", sort=False)
    return pd.concat(
        [cells["label"].first(), cells[[name for name in table.columns if name not in {"id", "label"}]].mean()], axis=1
    )


def refuse_too_few(networks: Sequence[TrainedNetwork]) -> None:
    """Refuse a single network, one that is named twice, and checkpoints without a run.

    Raises:
        UserError: with the next step.
    """
    if len(networks) < FEWEST:
        named = f"only {networks[0].title} is named" if networks else "none is named"
        raise UserError(f"a comparison takes two runs or more, {named}; name another with --run R")
    for network in networks:
        if network.run_id is None:
            raise UserError(
                f"{network.title} belongs to no run, so that nothing is filed of what it answered. Next step: name its run with "
                "--run, or its checkpoint among the run's files (RUN/artifacts/checkpoints/best.ckpt)"
            )
    ids = [network.run_id for network in networks]
    if twice := [network for place, network in enumerate(networks) if network.run_id in ids[:place]]:
        raise UserError(
            f"{twice[0].title} is named twice; leave one out, or name another run (an experiment means its newest run)"
        )


def refuse_without(networks: Sequence[TrainedNetwork], name: str) -> None:
    """Refuse a set that a network did not answer for; the test set, where a search evaluated its trial on validation only.

    Raises:
        UserError: with the sets that each network has.
    """
    for network in networks:
        if name == TEST and network.summary is not None and network.summary.tested_on != TEST:
            raise UserError(
                f"{network.title} is a trial of a search: it is evaluated on the validation set only, so that the test set "
                "chooses nothing. Next step: name a run that python -m bcc_lightning.tune --confirm SEEDS has trained with the "
                "best parameters and tested, or compare on the validation set with --set validation"
            )
    sets = {network.title: network.evaluated_sets for network in networks}
    if lacking := [title for title, names in sets.items() if name not in names]:
        there = "; ".join(f"{title}: {', '.join(names) or 'none'}" for title, names in sets.items())
        hint = "evaluate it there with python -m bcc_lightning.evaluate" if name != TEST else "train it again"
        raise UserError(
            f"{lacking[0]} has no predictions of {in_words(name)}. Sets that are filed: {there}. Next step: {hint}, or choose "
            "a set that all have with --set NAME"
        )


Answered = tuple[TrainedNetwork, pd.DataFrame]
"""A network and its table."""


def refuse_other_classes(first: Answered, other: Answered) -> None:
    """Refuse networks that distinguish different classes; their order does not matter.

    Raises:
        UserError: with the classes that only one has.
    """
    one, two = (list(map(class_of_column, table.columns[1:])) for _, table in (first, other))
    if set(one) != set(two):
        only = [f"only {network.title} has {some(set(mine) - set(others))}" for network, mine, others in
                ((first[0], one, two), (other[0], two, one)) if set(mine) - set(others)]  # fmt: skip
        raise UserError(
            f"{first[0].title} and {other[0].title} distinguish different classes: {'; '.join(only)}. Next step: compare runs "
            "that were trained on the same classes"
        )


def refuse_other_cells(first: Answered, other: Answered, name: str) -> None:
    """Refuse networks that answered for different cells.

    Raises:
        UserError: with how many cells only one of them has, and examples.
    """
    one, two = first[1].index, other[1].index
    only_first, only_second = one.difference(two, sort=False), two.difference(one, sort=False)
    if not len(only_first) and not len(only_second):
        return
    described = "; ".join(
        f"{network.title} has {len(table):,} cells, {len(only):,} of them alone{f' (such as {only[0]})' if len(only) else ''}, "
        f"of {network.facts.get('data.name', 'unknown data')}, split.sha256 {network.facts.get('split.sha256', 'unknown')[:12]}"
        for (network, table), only in ((first, only_first), (other, only_second))
    )
    hint = "train both on the same files with the same split, e.g. --data.split_file with the split.csv of one of them"
    further = "evaluate both on the same cells with python -m bcc_lightning.evaluate"
    raise UserError(
        f"the cells of {in_words(name)} differ: {described}. Next step: {hint if name in {TEST, VALIDATION} else further}"
    )


def refuse_other_labels(first: Answered, other: Answered, name: str) -> None:
    """Refuse networks for which the same cell has different labels.

    Raises:
        UserError: with how many, and the first of them.
    """
    one, two = first[1]["label"], other[1].loc[first[1].index, "label"]
    if (differ := (one != two).to_numpy()).any():
        cell = first[1].index[differ][0]
        raise UserError(
            f"{int(differ.sum()):,} cells of {in_words(name)} have different labels: {cell} is {one[cell]} in {first[0].title} "
            f"and {two[cell]} in {other[0].title}. Next step: train, or evaluate, both with the labels that are right"
        )


def refuse_other_data(first: TrainedNetwork, other: TrainedNetwork, name: str) -> None:
    """Refuse networks whose own data have different hashes although names and labels of the cells agree.

    Raises:
        UserError: with the hashes, and the components of the data that differ.
    """
    fact = "data.sha256"
    one, two = first.facts.get(fact), other.facts.get(fact)
    if one is None or two is None or one == two or first.summary is None or other.summary is None:
        return
    components = first.differing_parts(other.summary.identity)
    differing = f"; their {', '.join(components)} differ" if components else ""
    raise UserError(
        f"{first.title} and {other.title} name the same cells of {in_words(name)}, but their data differ: {fact} {one[:12]} in "
        f"{first.facts.get('data.name')} and {two[:12]} in {other.facts.get('data.name')}{differing}. Next step: train both on "
        "the same files, or evaluate both on one further set and compare them there with --set NAME"
    )


def some(names: set[str]) -> str:
    """List a few names for a message."""
    ordered = sorted(names)
    return ", ".join(ordered[:NAMED]) + (f" and {len(ordered) - NAMED} more" if len(ordered) > NAMED else "")
