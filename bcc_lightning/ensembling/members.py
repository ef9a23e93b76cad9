"""Who may vote together: networks of the same classes, data and split."""

from bcc_lightning.datamodules import CellDataModule
from bcc_lightning.errors import UserError
from bcc_lightning.tracking.sources import Source, find_source
from bcc_lightning.tracking.store import Tracking

MUST_AGREE = {"data.sha256": "data set", "split.sha256": "split"}

FEWEST = 2


def find_members(tracking: Tracking, wanted: list[str]) -> list[Source]:
    """Find the members of an ensemble.

    Args:
        tracking: the store.
        wanted: run ids, names of experiments, checkpoint files, registered models.

    Raises:
        UserError: one does not exist, is named twice, or there are fewer than two.
    """
    sources = [find_source(tracking, name) for name in wanted]
    if len(sources) < FEWEST:
        raise UserError(f"an ensemble has two members or more, not {len(sources)}; name them with --run ID or --checkpoint FILE")
    if len({source.checkpoint.resolve() for source in sources}) < len(sources):
        titles = ", ".join(source.title for source in sources)
        raise UserError(f"a member is named twice: {titles}; its weight would count double")
    return sources


def refuse_disagreement(sources: list[Source], data: CellDataModule) -> None:
    """Refuse members that were trained on other cells than the ensemble is tested on, or on another split of them.

    A member that saw test cells of the others would make the ensemble's test figure worthless.

    Args:
        sources: the members.
        data: the data of the ensemble.

    Raises:
        UserError: with the fact in which they differ, and both values.
    """
    reference, own = data.facts(), data.identity() if sources else {}
    for source in sources:
        if source.summary is None:
            continue
        facts = source.summary.data
        for fact, what in MUST_AGREE.items():
            if facts.get(fact) != reference[fact]:
                differing = [name for name, value in source.summary.identity.items() if own.get(name, value) != value]
                parts = f" (its {', '.join(differing)} differ)" if differing else ""
                raise UserError(
                    f"{source.title} has another {what} than the ensemble{parts}: {describe(facts, fact)}, "
                    f"not {describe(reference, fact)}. Next step: train all members on the same file and the same split, "
                    "e.g. with --data.split_file and the split.csv of one of them"
                )


def describe(facts: dict[str, str], fact: str) -> str:
    """Word a fact of data: its hash, the name of the data set, and how many cells stand where."""
    return f"{fact} {facts.get(fact, 'unknown')[:12]} ({facts.get('data.name')}, {facts.get('data.cells')})"


def unknown_training(sources: list[Source]) -> str | None:
    """Warn of members of which nothing says which cells they were trained on."""
    unknown = [source.name for source in sources if source.summary is None]
    if not unknown:
        return None
    return (
        f"nothing tells which cells {', '.join(unknown)} was trained on; if there are test cells among them, "
        "the ensemble's test figures mean nothing"
    )
