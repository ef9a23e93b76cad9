"""Which classes a differential count is of."""

import pytest

from bcc_lightning.datasets.classes import EIGHT_CELL_CLASSES, counted_classes, leukocytes
from bcc_lightning.errors import UserError

PBC = list(EIGHT_CELL_CLASSES)


def test_leukocytes_are_neither_erythroblasts_nor_platelets() -> None:
    assert counted_classes("Leukocytes ", PBC) == ["basophil", "eosinophil", "ig", "lymphocyte", "monocyte", "neutrophil"]
    assert leukocytes(["NRBC", "Thrombocytes", "blast", "RBC"]) == ["blast"]


@pytest.mark.parametrize(("given", "expected"), [(None, PBC), ("NEUT rophil,Mono", None), ("ne, MO", ["monocyte", "neutrophil"])])
def test_classes_in_any_spelling(given: str | None, expected: list[str] | None) -> None:
    if expected:
        assert counted_classes(given, PBC) == expected
    else:
        with pytest.raises(UserError, match=r"--of NEUT rophil is not a class of this network; did you mean neutrophil\?"):
            counted_classes(given, PBC)


@pytest.mark.parametrize(("given", "names"), [("leukocytes", ["platelet"]), (",", PBC)])
def test_nothing_is_left(given: str, names: list[str]) -> None:
    with pytest.raises(UserError, match="names no class"):
        counted_classes(given, names)
