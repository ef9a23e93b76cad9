"""The networks that a network started from: a set with cells that one of them has learnt tests nothing."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from bcc_lightning.datasets.cells import CellImages, pixel_hashes
from bcc_lightning.datasets.splits import TEST
from bcc_lightning.engine.rebuild import own_data
from bcc_lightning.errors import UserError
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.tracking.trained_networks import TrainedNetwork, find_starts


def ancestors(tracking: Tracking, network: TrainedNetwork) -> Iterator[TrainedNetwork]:
    """Yield the networks that a network started from, and those that these started from in turn.

    Args:
        tracking: the store; runs that it no longer holds are passed over.
        network: the network.
    """
    model = (network.config or {}).get("model") or {}
    try:
        starts = find_starts(tracking, model.get("init_args") or {})
    except UserError:
        return
    for source in starts.values():
        yield source
        yield from ancestors(tracking, source)


def learnt_pixels(network: TrainedNetwork, **changes: Any) -> set[bytes] | str:  # noqa: ANN401 - arguments of any data module
    """Hash the pixels of the cells that a network was trained on or chosen by.

    Args:
        network: the network.
        **changes: arguments of its data module to change, such as the side at which its cells are read.

    Returns:
        The hashes; a sentence that says why not where its data cannot be had.
    """
    own = own_data(network, **changes)
    if isinstance(own, str):
        return own
    sets = [own.splits["train"], own.splits["val"]]
    if network.folds:  # the cells that one of them is tested on, the next was trained on, unless the data set has a test set
        following = own.codes_of(replace(own.split_plan, fold=1))
        sets.append(own.cells.part((following != TEST).nonzero()[0]))
    return {pixels for cells in sets for pixels in pixel_hashes(cells)}


def refuse_learnt(sets: Mapping[str, CellImages], sources: Iterable[TrainedNetwork], image_size: int) -> list[str]:
    """Refuse sets with cells that a network was trained on or chosen by.

    Args:
        sets: what is tested on, by name.
        sources: networks that the weights come from.
        image_size: side in pixels at which the cells of the sets were read.

    Returns:
        A notice for each network whose data are not here, so that nothing can be compared.

    Raises:
        UserError: with the number of shared cells, and the first.
    """
    known = {source.name: source for source in sources}
    if not known:
        return []
    tested = {name: list(pixel_hashes(cells)) for name, cells in sets.items()}
    notices = []
    for source in known.values():
        learnt = learnt_pixels(source, image_size=image_size)
        if isinstance(learnt, str):
            notices.append(f"Whether {source.title} was trained on cells that are tested on here is not known: {learnt}")
            continue
        for name, cells in sets.items():
            if shared := [row for row, pixels in enumerate(tested[name]) if pixels in learnt]:
                raise UserError(
                    f"{source.title}, which the weights come from, was trained on or chosen by {len(shared):,} of the "
                    f"{len(cells):,} cells of the {name} set; the first is {cells.ids[shared[0]]}. Next step: leave them out, or "
                    "start from a network that has not seen them"
                )
    return notices
