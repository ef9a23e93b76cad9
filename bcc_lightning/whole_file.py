"""Writing files whole or not at all."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Write a file whole or not at all: yields a path beside it and moves that into place at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
    try:
        yield draft
        os.replace(draft, target)
    except OSError as error:
        if error.errno is None or error.filename not in {None, str(draft)}:
            raise
        # A full disk names no file, and the name of the draft helps nobody.
        raise OSError(error.errno, error.strerror, str(target)) from error
    finally:
        draft.unlink(missing_ok=True)


def write_json(target: Path, content: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    with whole_file(target) as draft:
        draft.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
