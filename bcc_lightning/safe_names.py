"""Names of classes and test sets as keys of MLflow, columns of Parquet and files.

Class names can be ``CD34+``, ``label`` or ``blast/early``. Each place allows different names, so each has its own mapping. All
mappings are injective: two classes never share a key, a column or a file. They can be reversed, except for names that are too
long; those end in a hash and are found by mapping the real names, which ``summary.json`` keeps. Plain names (letters, digits,
``_``, ``-``, ``.`` and blanks) are not changed.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import cache

from bcc_lightning.errors import UserError
from bcc_lightning.printable import is_control, printable

LONGEST_KEY = 250
"""Longest name of a metric, a parameter or a tag in MLflow, in characters."""

LONGEST_PART = 100
"""Longest name of a class or a test set in a key that would be too long: ``test_on/SET/recall/CLASS`` must fit."""

LONGEST_FILE = 100
"""Longest file name without prefix and suffix, in bytes; file systems allow 255 with both."""

HASH = 16
"""Hexadecimal digits of the SHA-256 at the end of a shortened name."""

RESERVED_COLUMNS = {
    *("id", "label", "path", "image", "predicted", "probability", "margin", "error", "split", "group", "slide", "patient")
}
"""Columns of predictions that are not classes."""

CLASS_COLUMN = "class:"
"""Prefix of the column of a class whose own name is taken."""

DEVICES = {"con", "prn", "aux", "nul"} | {f"{port}{number}" for port in ("com", "lpt") for number in "123456789¹²³"}
"""Names that Windows does not allow for files, with any suffix."""


def metric_key(name: str) -> str:
    """Return the key under which MLflow stores a metric.

    Args:
        name: as in ``summary.json``, e.g. ``test/recall/CD34+``; the text after ``recall/`` is the name of a class.

    Returns:
        The key, e.g. ``test/recall/CD34:plus-sign:``, with at most `LONGEST_KEY` characters.
    """
    parts = name.split("/")
    depth = {"test": 2, "test_on": 3}.get(parts[0], len(parts))
    if parts[depth - 1 : depth] == ["recall"] and len(parts) > depth:
        parts = [*parts[:depth], "/".join(parts[depth:])]
    for longest in (LONGEST_KEY, LONGEST_PART):  # parts are shortened only if they do not all fit
        key = "/".join(key_part(part, longest) for part in parts)
        if len(key) <= LONGEST_KEY:
            return key
    return cut(list(key), LONGEST_KEY, f":sha256-{hash_of(name)}:", len)


def metric_of_key(key: str) -> str:
    """Return the name of the metric for a key; a shortened key is returned unchanged."""
    return "/".join(map(name_of_part, key.split("/")))


def parameter_key(name: str) -> str:
    """Return a valid MLflow key for the name of a parameter, which may end in the name of a class."""
    return key_part(name, LONGEST_KEY)


def key_part(name: str, longest: int) -> str:
    """Return a name as one part of a key: characters that MLflow does not allow become their Unicode names between colons.

    Args:
        name: any text.
        longest: most characters.
    """
    dots = name.startswith("..") or name == "."  # would lead elsewhere in a path, or MLflow would assume so
    written = [
        char if re.match(r"[\w.\- ]", char) and not (dots and char == ".") else f":{character_name(char)}:" for char in name
    ]
    return cut(written or [":empty:"], longest, f":sha256-{hash_of(name)}:", len)


def name_of_part(part: str) -> str:
    """Return the name for a part of a key; a shortened part is returned unchanged."""
    if ":sha256-" in part:
        return part
    return re.sub(r":([^:]*):", lambda found: character_of(found[1]), part)


def character_name(char: str) -> str:
    """Return a character's name in lower case and hyphens, ``plus-sign``, or its number if it has none, ``u001b``."""
    name = unicodedata.name(char, "")
    return name.lower().replace(" ", "-") if name else f"u{ord(char):04x}"


def character_of(name: str) -> str:
    """Return the character for a name from `character_name`."""
    if name == "empty":
        return ""
    return named_characters().get(name) or chr(int(name[1:], 16))


@cache
def named_characters() -> dict[str, str]:
    """Return the characters that `key_part` replaces, by name; the names differ also with hyphens instead of blanks."""
    chars = map(chr, range(0x110000))
    return {character_name(char): char for char in chars if not re.match(r"[\w\- ]", char) and unicodedata.name(char, "") != ""}


def column_name(class_name: str) -> str:
    """Return the column for the probabilities of a class: its name, or ``class:NAME`` if that is taken in any case."""
    taken = class_name.lower() in RESERVED_COLUMNS or class_name.lower().startswith(CLASS_COLUMN)
    return CLASS_COLUMN + class_name if taken else class_name


def class_of_column(column: str) -> str:
    """Return the name of the class for a column."""
    return column.removeprefix(CLASS_COLUMN)


def file_name(name: str) -> str:
    """Return a name in a form that every file system accepts as (a part of) a file name.

    Bytes of other characters than letters, digits, ``_``, ``-``, ``.`` and blanks are written as ``=`` and two hexadecimal
    digits; so are dots and blanks at either end, and the first letter of a device of Windows. A name of more
    than `LONGEST_FILE` bytes is shortened and ends in ``=~`` and a hash.

    Args:
        name: any text that is not empty.
    """
    device = name.partition(".")[0].rstrip().lower() in DEVICES
    last = len(name) - 1

    def stays(place: int, char: str) -> bool:
        """Check whether a character at a place is kept."""
        if char in ". ":
            return 0 < place < last
        return char in "_-" or (char.isalnum() and not (device and place == 0))

    written = [char if stays(place, char) else hexed(char) for place, char in enumerate(name)]
    return cut(written, LONGEST_FILE, f"=~{hash_of(name)}", lambda text: len(text.encode()))


def name_of_file(written: str) -> str:
    """Return the original of a name from `file_name`; a shortened name is returned unchanged."""
    if "=~" in written:
        return written
    raw = re.sub(rb"=([0-9A-F]{2})", lambda found: bytes.fromhex(found[1].decode()), written.encode())
    return raw.decode("utf-8", "surrogatepass")


def hexed(char: str) -> str:
    """Return the UTF-8 bytes of a character in hexadecimal."""
    return "".join(f"={byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))


def hash_of(name: str) -> str:
    """Return the hash of a name."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:HASH]


def cut(written: list[str], longest: int, ending: str, size: Callable[[str], int]) -> str:
    """Join the characters of a name; if that is too long, as many as fit before an ending."""
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
    """Check before training that the names of a run can be stored everywhere.

    Args:
        class_names: names of the classes of the data set.
        sets: names of the further test sets.
        folds: whether a cross-validation writes the deviation of ``NAME`` as ``NAME_sd``.

    Raises:
        UserError: a name is empty or holds control characters, or two names would be the same in a file system or a database
            that ignores case and Unicode forms.
    """
    classes, sets = list(class_names), list(sets)
    for kind, names in (("class", classes), ("further test set", sets)):
        for name in names:
            if not name.strip():
                raise UserError(f"a {kind} has the empty name '{name}'; rename it")
            if any(map(is_control, name)):
                raise UserError(
                    f"the name of the {kind} '{printable(name)}' has control characters or bytes that are not UTF-8; rename it"
                )
        refuse_twins(kind, names)
    if folds and (twice := [name for name in classes if f"{name}_sd" in classes]):
        raise UserError(
            f"the classes '{twice[0]}' and '{twice[0]}_sd' would share a metric: NAME_sd is the standard deviation of "
            "NAME over the folds; rename one of them"
        )


def refuse_twins(kind: str, names: list[str]) -> None:
    """Refuse names that are equal, or differ only in case or Unicode form."""
    seen: dict[str, str] = {}
    for name in names:
        if (twin := seen.get(folded(name))) is not None:
            raise UserError(
                f"the names of the {kind} '{twin}' and the {kind} '{name}' differ at most in case or Unicode form; rename one"
            )
        seen[folded(name)] = name


def folded(name: str) -> str:
    """Return the same form for names that differ only in case or Unicode form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
