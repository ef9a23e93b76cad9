"""Names of classes and test sets where they travel: keys of MLflow, columns of Parquet, files.

People call classes ``CD34+``, ``label`` or ``blast/early``. Each place takes other names, so each has a mapping of its own. All
are injective, so that two classes never share a key, a column or a file. All but names that are too long can be turned back;
those end in a hash, and are found again by mapping the real names, which ``summary.json`` keeps. Plain names (letters, digits,
``_``, ``-``, ``.`` and blanks) stay as they are.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import cache

from bcc_lightning.errors import UserError
from bcc_lightning.printable import is_control, printable

LONGEST_KEY = 250
"""Characters that MLflow takes as the name of a metric, a parameter or a tag."""

LONGEST_PART = 100
"""Characters of a class or a test set in a key that would be too long: ``test_on/SET/recall/CLASS`` must fit."""

LONGEST_FILE = 100
"""Bytes of a file's name without prefix and suffix; file systems take 255 with both."""

HASH = 16
"""Hexadecimal digits of the SHA-256 behind a name that was cut."""

RESERVED_COLUMNS = {"id", "label", "path", "predicted", "probability", "margin", "error", "split", "group"}
"""Columns of predictions that are no classes."""

CLASS_COLUMN = "class:"
"""Begins the column of a class whose own name is taken."""

DEVICES = {"con", "prn", "aux", "nul"} | {f"{port}{number}" for port in ("com", "lpt") for number in "123456789¹²³"}
"""Names that Windows does not give to files, whatever their suffix."""


def metric_key(name: str) -> str:
    """Map the name of a metric to the key that MLflow stores it under.

    Args:
        name: as in ``summary.json``, e.g. ``test/recall/CD34+``; whatever follows ``recall/`` is the name of a class.

    Returns:
        The key, e.g. ``test/recall/CD34:plus-sign:``, with at most `LONGEST_KEY` characters.
    """
    parts = name.split("/")
    depth = {"test": 2, "test_on": 3}.get(parts[0], len(parts))
    if parts[depth - 1 : depth] == ["recall"] and len(parts) > depth:
        parts = [*parts[:depth], "/".join(parts[depth:])]
    for longest in (LONGEST_KEY, LONGEST_PART):  # parts are cut only where they do not all fit as they are
        key = "/".join(key_part(part, longest) for part in parts)
        if len(key) <= LONGEST_KEY:
            return key
    return cut(list(key), LONGEST_KEY, f":sha256-{hash_of(name)}:", len)


def metric_of_key(key: str) -> str:
    """Turn a key back into the name of the metric; one that was cut stays as it is."""
    return "/".join(map(name_of_part, key.split("/")))


def parameter_key(name: str) -> str:
    """Map the name of a parameter, which may end in the name of a class, to a key that MLflow takes."""
    return key_part(name, LONGEST_KEY)


def key_part(name: str, longest: int) -> str:
    """Write a name as one part of a key: characters that MLflow does not take become their Unicode names between colons.

    Args:
        name: any text.
        longest: characters at most.
    """
    dots = name.startswith("..") or name == "."  # lead elsewhere in a path, or look to MLflow as if they did
    written = [
        char if re.match(r"[\w.\- ]", char) and not (dots and char == ".") else f":{character_name(char)}:" for char in name
    ]
    return cut(written or [":empty:"], longest, f":sha256-{hash_of(name)}:", len)


def name_of_part(part: str) -> str:
    """Turn a part of a key back into the name; one that was cut stays as it is."""
    if ":sha256-" in part:
        return part
    return re.sub(r":([^:]*):", lambda found: character_of(found[1]), part)


def character_name(char: str) -> str:
    """Name a character in small letters and hyphens: ``plus-sign``; one without a name by its number: ``u001b``."""
    name = unicodedata.name(char, "")
    return name.lower().replace(" ", "-") if name else f"u{ord(char):04x}"


def character_of(name: str) -> str:
    """Find the character of a name from `character_name`."""
    if name == "empty":
        return ""
    return named_characters().get(name) or chr(int(name[1:], 16))


@cache
def named_characters() -> dict[str, str]:
    """List the named characters that `key_part` writes out; no two have the same name, with hyphens for blanks either."""
    chars = map(chr, range(0x110000))
    return {character_name(char): char for char in chars if not re.match(r"[\w\- ]", char) and unicodedata.name(char, "") != ""}


def column_name(class_name: str) -> str:
    """Name the column with the probabilities of a class: as the class, or ``class:NAME`` where that is taken, in any case."""
    taken = class_name.lower() in RESERVED_COLUMNS or class_name.lower().startswith(CLASS_COLUMN)
    return CLASS_COLUMN + class_name if taken else class_name


def class_of_column(column: str) -> str:
    """Turn the column of a class back into its name."""
    return column.removeprefix(CLASS_COLUMN)


def file_name(name: str) -> str:
    """Write a name so that every file system takes it as (a part of) a file's name.

    Bytes of other characters than letters, digits, ``_``, ``-``, ``.`` and blanks are written as ``=`` and two hexadecimal
    digits; so are dots and blanks at either end, and the first letter of a device of Windows. What is longer than
    `LONGEST_FILE` bytes is cut and ends in ``=~`` and a hash.

    Args:
        name: any text but the empty one.
    """
    device = name.partition(".")[0].rstrip().lower() in DEVICES
    last = len(name) - 1

    def stays(place: int, char: str) -> bool:
        """Whether a character may stand at a place as it is."""
        if char in ". ":
            return 0 < place < last
        return char in "_-" or (char.isalnum() and not (device and place == 0))

    written = [char if stays(place, char) else hexed(char) for place, char in enumerate(name)]
    return cut(written, LONGEST_FILE, f"=~{hash_of(name)}", lambda text: len(text.encode()))


def name_of_file(written: str) -> str:
    """Turn a name from `file_name` back; one that was cut stays as it is."""
    if "=~" in written:
        return written
    raw = re.sub(rb"=([0-9A-F]{2})", lambda found: bytes.fromhex(found[1].decode()), written.encode())
    return raw.decode("utf-8", "surrogatepass")


def hexed(char: str) -> str:
    """Write the UTF-8 bytes of a character in hexadecimal."""
    return "".join(f"={byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))


def hash_of(name: str) -> str:
    """Hash a name."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:HASH]


def cut(written: list[str], longest: int, ending: str, size: Callable[[str], int]) -> str:
    """Join the characters of a name; where that is too long, as many as fit before an ending."""
    if size("".join(written)) <= longest:
        return "".join(written)
    room = longest - size(ending)
    kept: list[str] = []
    for char in written:
        room -= size(char)
        if room < 0:
            break
        kept.append(char)
    return "".join(kept) + ending


def refuse_names(class_names: Iterable[str], sets: Iterable[str] = (), folds: bool = False) -> None:
    """Find out before training whether the names of a run can be written everywhere.

    Args:
        class_names: of the data set.
        sets: names of the further test sets.
        folds: whether a cross-validation writes the deviation of ``NAME`` as ``NAME_sd``.

    Raises:
        UserError: a name is empty or holds control characters, or two of them would be one in a file system or a database that
            does not tell case and Unicode forms apart.
    """
    classes, sets = list(class_names), list(sets)
    for kind, names in (("class", classes), ("further test set", sets)):
        for name in names:
            if not name.strip():
                raise UserError(f"a {kind} has the empty name '{name}'; rename it")
            if any(map(is_control, name)):
                raise UserError(
                    f"the {kind} '{printable(name)}' has control characters, or bytes that are not UTF-8, in its name; rename it"
                )
        refuse_twins(kind, names)
    if folds and (twice := [name for name in classes if f"{name}_sd" in classes]):
        raise UserError(
            f"the classes '{twice[0]}' and '{twice[0]}_sd' would share a figure: NAME_sd is the deviation of NAME over "
            "the folds; rename one of them"
        )


def refuse_twins(kind: str, names: list[str]) -> None:
    """Refuse names that are equal, or differ in case or Unicode form alone."""
    seen: dict[str, str] = {}
    for name in names:
        if (twin := seen.get(folded(name))) is not None:
            raise UserError(
                f"the {kind} '{twin}' and the {kind} '{name}' have one name, but for case or Unicode form; rename one"
            )
        seen[folded(name)] = name


def folded(name: str) -> str:
    """Bring names that differ in case or Unicode form alone to one form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
