"""Reading YAML files that people write."""

from pathlib import Path
from typing import Any

import yaml

from bcc_lightning.errors import UserError


def read_mapping(file: Path, keys: str) -> dict[str, Any]:
    """Read a YAML file that holds keys with values.

    Args:
        file: the file; it exists.
        keys: words for the message: which keys it must hold.

    Raises:
        UserError: it is no YAML, with the line that is at fault, or holds something else.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is no valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{file} must hold {keys}; it holds {content!r:.100}")
    return content
