"""Many names in little memory: a million ids take 30 MB, which a list of strings would make 110."""

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

CHUNK = 65_536


class Names(Sequence[str]):
    """A sequence of strings held in one Arrow array, which may lie in a memory-mapped file.

    Args:
        array: the strings.
    """

    def __init__(self, array: pa.StringArray) -> None:
        self.array = array

    @classmethod
    def of(cls, names: Iterable[str]) -> "Names":
        """Collect names one by one, never holding more than a chunk of them as Python strings."""
        chunks, chunk = [pa.array([], pa.string())], []
        for name in names:
            chunk.append(name)
            if len(chunk) == CHUNK:
                chunks.append(pa.array(chunk, pa.string()))
                chunk = []
        return cls(pa.concat_arrays([*chunks, pa.array(chunk, pa.string())]))

    def take(self, rows: npt.NDArray[np.int64]) -> "Names":
        """Choose names: (M,) int64 positions."""
        return Names(self.array.take(pa.array(rows)))

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> "Names": ...

    def __getitem__(self, place: int | slice) -> "str | Names":
        """Get one name, or a slice of them."""
        if isinstance(place, slice):
            return Names(self.array[place])
        return str(self.array[int(place)].as_py())

    def __len__(self) -> int:
        """Count the names."""
        return len(self.array)

    def __iter__(self) -> Iterator[str]:
        """Go through the names."""
        for start in range(0, len(self.array), CHUNK):
            yield from self.array[start : start + CHUNK].to_pylist()
