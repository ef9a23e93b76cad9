"""Features as files: a table with a row per cell, or bags by patient or slide for learning from whole smears."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bcc_lightning.embedding.choices import refuse_wrong_name
from bcc_lightning.embedding.features import Embedded, EmbeddedSet
from bcc_lightning.errors import UserError
from bcc_lightning.files import whole_file
from bcc_lightning.safe_names import file_name

ROWS = 8192
"""Rows that are written at once."""


def facts(embedded: Embedded) -> dict[str, str]:
    """Describe where features come from, for the file that holds them."""
    extractor = embedded.extractor
    return {
        "network": extractor.name,
        "weights": extractor.origin,
        "weights_sha256": extractor.sha256,
        "data": embedded.data,
        "side": str(extractor.side),
    }


def write_features(embedded: Embedded, out: Path) -> None:
    """Write features, as the suffix says, whole or not at all.

    Args:
        embedded: the features.
        out: ``.parquet``: columns ``id``, ``set``, ``label``, ``group`` and ``f0``, ``f1``, ...; ``.h5``: see `write_bags`.

    Raises:
        UserError: the suffix is another one, h5py is missing, or the file holds features of other weights.
    """
    refuse_wrong_name(out)
    refuse_other_weights(embedded, out)
    with whole_file(out) as draft:
        write_table(embedded, draft) if out.suffix == ".parquet" else write_bags(embedded, draft)


def refuse_other_weights(embedded: Embedded, out: Path) -> None:
    """Refuse to replace features of other weights, or a file of another kind.

    Raises:
        UserError: the file exists and is not of these weights.
    """
    if not out.exists():
        return
    try:
        if out.suffix == ".parquet":
            known = (pq.read_schema(out).metadata or {}).get(b"weights_sha256", b"").decode()
        else:
            import h5py

            with h5py.File(out) as file:
                known = str(file.attrs.get("weights_sha256", ""))
    except (OSError, pa.ArrowInvalid):
        known = ""
    if known != embedded.extractor.sha256:
        what = "features of other weights" if known else "something else"
        raise UserError(f"{out} exists and holds {what}; name another file with --out, or delete it")


def write_table(embedded: Embedded, file: Path) -> None:
    """Write a Parquet table, a few thousand rows at a time."""
    width = embedded.width
    columns = [pa.field(name, pa.string()) for name in ("id", "set", "label", "group")]
    schema = pa.schema([*columns, *(pa.field(f"f{place}", pa.float32()) for place in range(width))], metadata=facts(embedded))
    with pq.ParquetWriter(file, schema) as writer:
        for one in embedded.sets:
            for start in range(0, len(one.cells), ROWS):
                rows = range(start, min(start + ROWS, len(one.cells)))
                texts = [
                    [one.cells.ids[row] for row in rows],
                    [one.name] * len(rows),
                    [embedded.class_names[one.cells.labels[row]] for row in rows],
                    [group_of(embedded, one, row) for row in rows],
                ]
                block = np.asarray(one.features[start : rows.stop])
                numbers = [pa.array(np.ascontiguousarray(block[:, place])) for place in range(width)]
                writer.write_table(pa.table([*map(pa.array, texts), *numbers], schema=schema))


def group_of(embedded: Embedded, one: EmbeddedSet, row: int) -> str | None:
    """Return the patient or slide of a cell; None where none is known."""
    if one.cells.groups is None:
        return None
    number = int(one.cells.groups[row])
    return embedded.group_names[number] if number < len(embedded.group_names) else str(number)


def bags(embedded: Embedded) -> Iterator[tuple[str, EmbeddedSet, list[int]]]:
    """Yield the cells of each patient or slide: its name, the set, and the rows in it."""
    for one in embedded.sets:
        rows: dict[str, list[int]] = {}
        for row in range(len(one.cells)):
            rows.setdefault(group_of(embedded, one, row) or "all", []).append(row)
        for name, found in rows.items():
            yield f"{file_name(one.name)}/{file_name(name)}", one, found


def write_bags(embedded: Embedded, file: Path) -> None:
    """Write HDF5: ``SET/GROUP/features`` (N, F) float32, ``labels`` and ``ids``, texts; GROUP is ``all`` where none is known."""
    import h5py

    with h5py.File(file, "w") as target:
        target.attrs.update(facts(embedded))
        text = h5py.string_dtype()
        for name, one, rows in bags(embedded):
            group = target.create_group(name)
            group.create_dataset("features", data=one.features[rows])
            group.create_dataset("labels", data=[embedded.class_names[one.cells.labels[row]] for row in rows], dtype=text)
            group.create_dataset("ids", data=[one.cells.ids[row] for row in rows], dtype=text)
