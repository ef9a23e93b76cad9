"""YAML of others: a small file cannot fill the memory."""

from pathlib import Path

import pytest
import yaml

from bcc_lightning.errors import UserError
from bcc_lightning.files import DEEPEST, LARGEST, read_mapping, refuse_oversized

TENFOLD = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 10)
)
"""Ten lines that hold 10 ** 10 values with their aliases expanded."""


@pytest.mark.parametrize(
    "text",
    [
        TENFOLD,
        f"lr: '{{{TENFOLD.replace(chr(10), ', ')}}}'",
        "model: &a {again: *a}",
        "a: " + "[" * 5000 + "]" * 5000,
        "[" * 5000,
    ],
)
def test_bombs_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "bomb.yaml").write_text(text)
    with pytest.raises(UserError, match=r"bomb\.yaml is not valid YAML"):
        read_mapping(tmp_path / "bomb.yaml", "keys")


def test_what_is_allowed(tmp_path: Path) -> None:
    shared = "base: &base {lr: 0.1, epochs: 3}\nfirst: *base\nsecond: {<<: *base, lr: 0.2}\ntext: '*a & \"b'\n"
    (tmp_path / "mine.yaml").write_text(shared)
    assert read_mapping(tmp_path / "mine.yaml", "keys")["second"] == {"lr": 0.2, "epochs": 3}
    refuse_oversized(f"[{'x, ' * (LARGEST - 1)}]")
    refuse_oversized("[" * (DEEPEST - 2) + "]" * (DEEPEST - 2))


@pytest.mark.parametrize("text", [f"[{'x, ' * LARGEST}]", "[" * DEEPEST + "]" * DEEPEST])
def test_the_limits(text: str) -> None:
    with pytest.raises(yaml.YAMLError, match="100,000 values"):
        refuse_oversized(text)
