"""Names with several spellings: how names of classes, groups, sets and files are compared."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal

from bcc_lightning.errors import UserError

DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"), "-")
"""Hyphens, dashes and minus signs of word processors; all are replaced by the hyphen of the keyboard."""

# Both leave 1,000 and longer groups of three digits alone: it may be a thousand, or one with three decimals.
NUMBER = re.compile(r"([+-]?)(\d+)(?:\.(\d*)|,(?!\d{3}$)(\d*))?", re.ASCII)
EXPONENT = re.compile(r"([+-]?)(\d)(?:\.(\d+))?e\+(\d{1,2})", re.ASCII)
LEADING_ZEROS = re.compile(r"(?<![0-9])(?<![0-9][.,])0+(?=[0-9])")
"""Leading zeros of a run of digits that are not the decimals of a number."""


def spelling_key(text: str) -> str:
    """Return the key by which names are compared: names with the same key mean the same.

    Case, Unicode form (also full-width and superscript characters), surrounding blanks, repeated blanks, zero-width characters,
    kinds of dashes and number formats do not matter: ``7``, ``7.0``, ``7,00``, ``007`` and ``+7`` are the same, so are ``P007``
    and ``p7``; ``1.05`` and ``1.5`` are different.
    """
    folded = file_key(text)
    return number_key(folded) or LEADING_ZEROS.sub("", folded)


def file_key(text: str) -> str:
    """Return the key by which file names are compared: as `spelling_key`, but digits matter because they number images."""
    if text.isascii() and " " not in text and text.isprintable():
        return text.lower()
    return unicodedata.normalize("NFKC", displayed(unicodedata.normalize("NFKC", text)).translate(DASHES).casefold())


def displayed(text: str) -> str:
    """Return a name for display: composed Unicode, no zero-width characters, single blanks, none at the ends."""
    seen = "".join(char for char in unicodedata.normalize("NFC", text) if unicodedata.category(char) != "Cf")
    return " ".join(seen.split())


def number_key(text: str) -> str | None:
    """Return the normal form of a value that is a number; None if it is not a number."""
    if found := NUMBER.fullmatch(text):
        sign, whole, decimals = found[1], found[2], found[3] or found[4] or ""
    elif found := EXPONENT.fullmatch(text):
        digits = found[2] + (found[3] or "")
        point = int(found[4]) + 1
        sign, whole, decimals = found[1], digits[:point].ljust(point, "0"), digits[point:]
    else:
        return None
    whole, decimals = whole.lstrip("0") or "0", decimals.rstrip("0")
    written = f"{whole}.{decimals}" if decimals else whole
    return f"-{written}" if sign == "-" and written != "0" else written


def without_decimals(text: str) -> str:
    """Return ``7`` for ``7.0``, the form in which spreadsheets save numbers; other texts are unchanged."""
    return re.sub(r"[.,]0*$", "", text) if "." not in (number_key(text) or ".") else text


def shown(text: str) -> str:
    """Format a name for a message: with control characters, or if not UTF-8, escaped as Python does."""
    return text if text.isprintable() else ascii(text)


def quoted(text: str) -> str:
    """Format a name in quotes so that different spellings look different."""
    return f"'{text}'" if text.isprintable() and unicodedata.is_normalized("NFC", text) else ascii(text)


def refuse_nameless(name: str, kind: str, where: str) -> None:
    """Refuse a name that cannot be displayed.

    Args:
        name: as it was found.
        kind: what it names, e.g. ``class``.
        where: place of the name, for the message.

    Raises:
        UserError: the name is empty, or holds control characters such as a line break.
    """
    unprintable = any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in name.strip())
    if unprintable or not displayed(name):
        raise UserError(
            f"{where} holds the {kind} {name!a}, which "
            + ("has control characters or is not UTF-8" if unprintable else "is empty")
            + f"; rename it, so that every {kind} has a name that can be displayed"
        )


def merge_spellings(
    counts: Mapping[str, int], key: Callable[[str], str] = spelling_key, known: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Choose one name for all spellings with the same key.

    Args:
        counts: spelling, with its original blanks and Unicode form, to number of cells.
        key: returns the key by which spellings are compared.
        known: key to name, for fixed names.

    Returns:
        Spelling to name: the known one, else the spelling with most cells, in a tie the first in the alphabet.
    """
    chosen: dict[str, str] = dict(known or {})
    shown_counts: Counter[str] = Counter()
    for spelling, count in counts.items():
        shown_counts[without_decimals(displayed(spelling))] += count
    for name in sorted(shown_counts, key=lambda one: (-shown_counts[one], one)):
        chosen.setdefault(key(name), name)
    return {spelling: chosen[key(spelling)] for spelling in counts}


def merged_notices(counts: Mapping[str, int], names: Mapping[str, str], kind: str) -> Iterator[str]:
    """Describe which spellings were read as one name.

    Args:
        counts: spelling to number of cells.
        names: spelling to name.
        kind: what they name, in the plural, e.g. ``classes``.
    """
    together: dict[str, list[str]] = {}
    for spelling in counts:
        together.setdefault(names[spelling], []).append(spelling)
    several = {name: sorted(spellings) for name, spellings in together.items() if len(spellings) > 1}
    for number, (name, spellings) in enumerate(several.items()):
        if number == NAMED:
            yield f"{len(several) - NAMED} further {kind} have several spellings."
            return
        *first, last = (f"{quoted(spelling)} ({counts[spelling]:,} cells)" for spelling in spellings)
        yield f"The {kind} {', '.join(first)} and {last} are read as one, {shown(name)}."


NAMED = 5
"""Number of names of a kind that get a notice each."""


def same_names(names: Iterable[str]) -> tuple[str, str] | None:
    """Find two files or folders whose names differ only in case, blanks or Unicode form; None if there are none."""
    listed = list(names)
    keys = list(map(file_key, listed))
    if len(set(keys)) == len(keys):
        return None
    first: dict[str, str] = {}
    return next(((first[key], name) for key, name in zip(keys, listed, strict=True) if first.setdefault(key, name) != name), None)


SetName = Literal["train", "val", "test"]

LONG_NAMES: dict[SetName, str] = {"train": "training", "val": "validation", "test": "test"}

WORDS: dict[SetName, tuple[str, ...]] = {
    "train": ("train", "trn", "training", "balancedtrain", "balancedtraining"),
    "val": ("val", "vld", "valid", "validate", "validation", "validating", "dev", "devel", "development"),
    "test": ("test", "tst", "tests", "testing"),
}

ENDINGS = (
    *("", "set", "data", "dataset", "split", "part", "fold", "folder", "dir"),
    *("images", "imgs", "img", "pictures", "cells", "crops", "a", "b", "c", "d"),
)
"""Words that may follow, as in ``train_data``, ``Test images`` or ``TestA``."""

SET_WORDS = frozenset({word for words in WORDS.values() for word in words})
"""Words that mean a set by themselves."""

SET_NAMES: dict[str, SetName] = {word + ending: name for name, words in WORDS.items() for word in words for ending in ENDINGS}


def set_name(text: str) -> SetName | None:
    """Return the set that the name of a folder or a value of a ``split`` column means; None if it means none.

    Case, blanks, digits and punctuation do not matter: ``Training``, ``valid``, ``dev_set``, ``Test-A`` and ``test 2`` are known.
    """
    return SET_NAMES.get(letters(text))


def letters(text: str) -> str:
    """Return the letters of a name in lower case, without digits, blanks and punctuation."""
    return "".join(filter(str.isalpha, spelling_key(text)))
