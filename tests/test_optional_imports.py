"""What is said when a package of an extra is missing."""

import pytest

from bcc_lightning.errors import UserError
from bcc_lightning.optional_imports import optional_import


def test_a_missing_package_is_installed_by_its_extra() -> None:
    with (
        pytest.raises(UserError, match=r"^--executor moon needs a package: uv pip install 'bcc-lightning\[moon\]'$"),
        optional_import("moon", "--executor moon"),
    ):
        import no_such_package_on_this_planet  # type: ignore[import-not-found]  # noqa: F401


def test_other_errors_keep_their_type() -> None:
    with pytest.raises(ValueError, match="other"), optional_import("moon", "--executor moon"):
        raise ValueError("other")
