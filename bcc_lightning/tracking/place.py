"""Where a store and its artifacts are: paths and URIs of this machine, and what follows a folder that has moved.

MLflow keeps the place of an experiment's and a run's artifacts as an absolute URI. A folder that is renamed, copied or mounted
elsewhere would leave those behind: runs could not be read, and new ones would be written to the old place. The embedded store
therefore takes the artifacts to be beside its database, and mends what the database says when it is opened.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

ARTIFACTS = "artifacts"
"""Folder of all artifacts in the folder of an embedded store."""

OWN = "bcc_lightning.artifacts"
"""Tag of an experiment whose artifacts are beside the database; its value is their folder, relative to that of the database."""

BUSY_SECONDS = 30.0

FOLLOWING = (
    ("runs", "artifact_uri", "experiment_id = :experiment"),
    ("logged_models", "artifact_location", "experiment_id = :experiment"),
    ("trace_tags", "value", "key = 'mlflow.artifactLocation'"),
    ("model_versions", "source", "1"),
    ("model_versions", "storage_location", "1"),
)
"""What MLflow derives from the place of an experiment: table, column, and which rows belong to the experiment."""


@dataclass(frozen=True)
class StoredExperiment:
    """An experiment as the database has it.

    Attributes:
        number: its id.
        name: its name.
        place: where its artifacts are said to be.
        tag: value of the tag `OWN`, or None.
    """

    number: int
    name: str
    place: str
    tag: str | None


def sqlite_uri(file: Path) -> str:
    """Return the URI of a SQLite file, whatever its path holds."""
    from sqlalchemy.engine import URL, make_url

    plain = f"sqlite:///{file}"
    if make_url(plain).database == str(file):
        return plain
    # With the driver's name: of the plain form MLflow makes the folder that it spells, escapes and all.
    return URL.create("sqlite+pysqlite", database=str(file)).render_as_string(hide_password=False)


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a SQLite URI; None for other URIs."""
    from sqlalchemy.engine import make_url

    if urlparse(uri).scheme.partition("+")[0] != "sqlite":
        return None
    return Path(make_url(uri).database or "")


def local_path(uri: str) -> Path | None:
    """Read a path from the URI of a run's artifacts; None where they are on a server."""
    url = urlparse(uri)
    if url.scheme == "file":
        return Path(url2pathname(url.path))
    return Path(uri) if not url.scheme else None


def follow_folder(database: Path, home: Path, in_use: str | None = None) -> None:
    """Mend the places of artifacts in an embedded store whose folder has moved, in one transaction.

    Experiments of others, whose artifacts are elsewhere and still there, are left alone.

    Args:
        database: the SQLite file; nothing is done where it has no tables yet.
        home: its folder, as this process names it.
        in_use: name of the experiment that is about to be written to.

    Raises:
        sqlite3.Error: the database cannot be read, or not be written where something has to be mended.
    """
    with closing(sqlite3.connect(database, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
        if not has_table(connection, "experiment_tags"):
            return
        places = [(found, place_beside(connection, home, found, found.name == in_use)) for found in experiments(connection)]
        moved = [(found, place) for found, place in places if place]
        if not moved:
            return
        connection.execute("BEGIN IMMEDIATE")
        for found, place in moved:
            move(connection, found, place)
        connection.execute("COMMIT")


def has_table(connection: sqlite3.Connection, name: str) -> bool:
    """Check whether a database has a table."""
    return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)).fetchone())


def experiments(connection: sqlite3.Connection) -> list[StoredExperiment]:
    """List the experiments."""
    rows = connection.execute(
        "SELECT e.experiment_id, e.name, e.artifact_location, t.value FROM experiments e "
        "LEFT JOIN experiment_tags t ON t.experiment_id = e.experiment_id AND t.key = ?",
        (OWN,),
    )
    return [StoredExperiment(*row) for row in rows.fetchall()]


def place_beside(connection: sqlite3.Connection, home: Path, experiment: StoredExperiment, is_in_use: bool) -> Path | None:
    """Find the folder beside the database in which an experiment's artifacts belong; None where nothing has to be mended.

    Experiments that lack the tag are known by files of their runs, or, where there are no runs yet, by a place that is gone.

    Args:
        connection: to the database.
        home: folder of the database.
        experiment: the experiment.
        is_in_use: whether it is about to be written to.
    """
    stored = local_path(experiment.place)
    if stored is None:
        return None
    own = own_folder(experiment.tag)
    place = home / (own or stored.name)
    if own:
        return None if stored == place or same_folder(stored, place) else place
    runs = [run for (run,) in connection.execute("SELECT run_uuid FROM runs WHERE experiment_id = ?", (experiment.number,))]
    if same_folder(stored, place) or any((place / run).is_dir() for run in runs):
        return place
    return place if is_in_use and not runs and not stored.exists() else None


def own_folder(tag: str | None) -> str | None:
    """Read the tag `OWN`: the name of a folder; None where there is no tag, or it names no folder beside the database."""
    return tag if tag and Path(tag).name == tag and tag != ".." else None


def same_folder(one: Path, other: Path) -> bool:
    """Check whether two paths, through links or not, are one folder; one that does not exist is what its path says."""
    if one.absolute() == other.absolute():
        return True
    return one.exists() and other.exists() and one.samefile(other)


def move(connection: sqlite3.Connection, experiment: StoredExperiment, place: Path) -> None:
    """Move an experiment and all that belongs to it to another place, and tag it as one that follows its database."""
    old, new = experiment.place, place.as_uri()
    values = {"experiment": experiment.number, "old": old, "new": new, "length": len(old)}
    for table, column, rows in FOLLOWING:
        if has_table(connection, table):
            connection.execute(
                f"UPDATE {table} SET {column} = :new || substr({column}, :length + 1) "  # noqa: S608 - names from this file
                f"WHERE {rows} AND substr({column}, 1, :length + 1) = :old || '/'",
                values,
            )
    # A database that moved before this was done may hold runs of still another place.
    connection.execute(
        "UPDATE runs SET artifact_uri = :new || '/' || run_uuid || '/artifacts' "
        "WHERE experiment_id = :experiment AND artifact_uri LIKE '%/' || run_uuid || '/artifacts'",
        values,
    )
    connection.execute("UPDATE experiments SET artifact_location = :new WHERE experiment_id = :experiment", values)
    connection.execute(
        "INSERT OR REPLACE INTO experiment_tags (key, value, experiment_id) VALUES (?, ?, ?)",
        (OWN, place.name, experiment.number),
    )
