"""Names under several spellings: how names of classes, groups, sets and files are compared."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal

from bcc_lightning.errors import UserError

DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"), "-")
"""Hyphens, dashes and minus signs of word processors; all are written as the one of the keyboard."""

# In both, 1,000 and longer rows of three digits are left alone: a thousand, or one with three decimals.
NUMBER = re.compile(r"([+-]?)(\d+)(?:\.(\d*)|,(?!\d{3}$)(\d*))?", re.ASCII)
EXPONENT = re.compile(r"([+-]?)(\d)(?:\.(\d+))?e\+(\d{1,2})", re.ASCII)
LEADING_ZEROS = re.compile(r"(?<![0-9])(?<![0-9][.,])0+(?=[0-9])")
"""Zeros at the beginning of a row of digits that are not the decimals of a number."""


def spelling_key(text: str) -> str:
    """Return what a name is compared by: names with the same key are one thing.

    Case, Unicode form (also full-width and raised characters), blanks around, the number of blanks within, characters without
    width, kinds of dashes and the formatting of numbers do not matter: ``7``, ``7.0``, ``7,00``, ``007`` and ``+7`` are one,
    ``P007`` and ``p7`` are one; ``1.05`` and ``1.5`` are two.
    """
    folded = file_key(text)
    return number_key(folded) or LEADING_ZEROS.sub("", folded)


def file_key(text: str) -> str:
    """Return what a file's name is compared by: as `spelling_key`, but digits matter, since they number images."""
    if text.isascii() and " " not in text and text.isprintable():
        return text.lower()
    return unicodedata.normalize("NFKC", displayed(unicodedata.normalize("NFKC", text)).translate(DASHES).casefold())


def displayed(text: str) -> str:
    """Return a name as it is shown: composed Unicode, without characters that have no width, single blanks, none around."""
    seen = "".join(char for char in unicodedata.normalize("NFC", text) if unicodedata.category(char) != "Cf")
    return " ".join(seen.split())


def number_key(text: str) -> str | None:
    """Write a whole value that is a number in one way; None where it is none."""
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
    """Write ``7.0``, as which spreadsheets save numbers, as ``7``; other texts stay."""
    return re.sub(r"[.,]0*$", "", text) if "." not in (number_key(text) or ".") else text


def shown(text: str) -> str:
    """Write a name so that a message shows it whole: names with control characters, or that are not UTF-8, as Python does."""
    return text if text.isprintable() else ascii(text)


def quoted(text: str) -> str:
    """Write a name in quotes, such that different spellings look different."""
    return f"'{text}'" if text.isprintable() and unicodedata.is_normalized("NFC", text) else ascii(text)


def refuse_nameless(name: str, kind: str, where: str) -> None:
    """Refuse a name that cannot be shown.

    Args:
        name: as it was found.
        kind: what it names, e.g. ``class``.
        where: where it was found, for the message.

    Raises:
        UserError: the name is empty, or holds control characters such as a line break.
    """
    unprintable = any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in name.strip())
    if unprintable or not displayed(name):
        raise UserError(
            f"{where} holds the {kind} {name!a}, which "
            + ("has control characters or is not UTF-8" if unprintable else "is empty")
            + f"; rename it, so that every {kind} has a name that can be shown"
        )


def merge_spellings(
    counts: Mapping[str, int], key: Callable[[str], str] = spelling_key, known: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Choose one name for the spellings of each thing.

    Args:
        counts: spelling to number of cells, with the blanks and Unicode form that were found.
        key: what spellings are compared by.
        known: key to name, where the name is fixed.

    Returns:
        Spelling to name: a known one, else the spelling with most cells, of equals the first in the alphabet.
    """
    chosen: dict[str, str] = dict(known or {})
    shown_counts: Counter[str] = Counter()
    for spelling, count in counts.items():
        shown_counts[without_decimals(displayed(spelling))] += count
    for name in sorted(shown_counts, key=lambda one: (-shown_counts[one], one)):
        chosen.setdefault(key(name), name)
    return {spelling: chosen[key(spelling)] for spelling in counts}


def merged_notices(counts: Mapping[str, int], names: Mapping[str, str], kind: str) -> Iterator[str]:
    """Describe which spellings were read as one thing.

    Args:
        counts: spelling to number of cells.
        names: spelling to the name of the thing.
        kind: of thing, in the plural, e.g. ``classes``.
    """
    together: dict[str, list[str]] = {}
    for spelling in counts:
        together.setdefault(names[spelling], []).append(spelling)
    several = {name: sorted(spellings) for name, spellings in together.items() if len(spellings) > 1}
    for number, (name, spellings) in enumerate(several.items()):
        if number == NAMED:
            yield f"{len(several) - NAMED} further {kind} were read under several spellings."
            return
        *first, last = (f"{quoted(spelling)} ({counts[spelling]:,} cells)" for spelling in spellings)
        yield f"The {kind} {', '.join(first)} and {last} are read as one, {shown(name)}."


NAMED = 5
"""Things of a kind that notices name one by one."""


def same_names(names: Iterable[str]) -> tuple[str, str] | None:
    """Find two files or folders whose names differ in case, blanks or Unicode form only; None where there are none."""
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
"""What may follow a word, as in ``train_data``, ``Test images`` or ``TestA``."""

SET_WORDS = frozenset({word for words in WORDS.values() for word in words})
"""Words that mean a set by themselves."""

SET_NAMES: dict[str, SetName] = {word + ending: name for name, words in WORDS.items() for word in words for ending in ENDINGS}


def set_name(text: str) -> SetName | None:
    """Return which set a folder, a value of a ``split`` column or the like means; None where it means none.

    Case, blanks, digits and punctuation do not matter: ``Training``, ``valid``, ``dev_set``, ``Test-A`` and ``test 2`` are known.
    """
    return SET_NAMES.get(letters(text))


def letters(text: str) -> str:
    """Return the letters of a name, in small letters, without digits, blanks and punctuation."""
    return "".join(filter(str.isalpha, spelling_key(text)))
