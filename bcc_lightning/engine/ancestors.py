"""The networks that a network started from: a set with cells that one of them has learnt tests nothing."""

from collections.abc import Iterable, Iterator, Mapping

from bcc_lightning.datasets.cells import CellImages, pixel_hashes
from bcc_lightning.engine.rebuild import build_data, data_config, refuse_other_data
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
    known = {source.name: (source, source.config) for source in sources if source.config is not None}
    if not known:
        return []
    tested = {name: list(pixel_hashes(cells)) for name, cells in sets.items()}
    notices = []
    for source, config in known.values():
        try:
            data = build_data(data_config(config, image_size=image_size))
            refuse_other_data(source, data)
            learnt = {pixels for name in ("train", "val") for pixels in pixel_hashes(data.splits[name])}
        except UserError as error:
            notices.append(f"Whether {source.title} was trained on cells that are tested on here is not known: {error}")
            continue
        for name, cells in sets.items():
            if shared := [row for row, pixels in enumerate(tested[name]) if pixels in learnt]:
                raise UserError(
                    f"{source.title}, which the weights come from, was trained on or chosen by {len(shared):,} of the "
                    f"{len(cells):,} cells of the {name} set; the first is {cells.ids[shared[0]]}. Next step: leave them out, or "
                    "start from a network that has not seen them"
                )
    return notices
