"""The names that people give to training, validation and test set."""

from typing import Literal

from bcc_lightning.datamodules.spelling import spelling_key

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

SET_NAMES: dict[str, SetName] = {word + ending: name for name, words in WORDS.items() for word in words for ending in ENDINGS}


def set_name(text: str) -> SetName | None:
    """Return which set a folder, a value of a ``split`` column or the like means; None where it means none.

    Case, blanks, digits and punctuation do not matter: ``Training``, ``valid``, ``dev_set``, ``Test-A`` and ``test 2`` are known.
    """
    return SET_NAMES.get(letters(text))


def letters(text: str) -> str:
    """Return the letters of a name, in small letters, without digits, blanks and punctuation."""
    return "".join(filter(str.isalpha, spelling_key(text)))
