"""Rows that lie in several parts, brought together in the order in which they were asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmgraph.data.format import DTYPES
from mmgraph.data.partitions.book import Type
from mmgraph.data.partitions.owners import Owners
from mmgraph.data.partitions.wire import Message
from mmgraph.data.sampling.memory import Recycler
from mmgraph.errors import ArtifactError


@dataclass(frozen=True, eq=False)
class Kept:
    """Rows of other parts that are kept here.

    Attributes:
        places: Whose they are, in the order of the parts, ascending, ``[kept]``.
        values: Attribute → ``[kept, …]``.
    """

    places: np.ndarray
    values: Mapping[str, np.ndarray]


class Reader:
    """Reads attributes of several types at once: one question to each part.

    Args:
        owners: Who is asked.
        memory: Where the rows are put.
    """

    def __init__(self, owners: Owners, memory: Recycler) -> None:
        self._owners, self._memory = owners, memory
        self._wanted: list[_Wanted] = []

    def want(self, one: Type, places: np.ndarray, names: Sequence[str], kept: Kept | None = None) -> dict[str, Tensor]:
        """Asks for rows of a type; they are there after :meth:`read`.

        Args:
            one: The type.
            places: Which rows, in the order of the parts, ``[rows]``; one may be there several times.
            names: Attributes.
            kept: Rows that need not be asked for.
        """
        out = {name: self._empty(len(places), one, name) for name in names}
        if len(places) and names:
            self._wanted.append(_Wanted(one, places, list(names), kept, out))
        return {name: torch.from_numpy(array).view(one.attributes[name][0]) for name, array in out.items()}

    def read(self) -> None:
        """Fills all that was asked for.

        Raises:
            PartLostError: A part does not answer.
            ArtifactError: One says that it can't.
        """
        columns: dict[int, list[list[str]]] = {}
        rows: dict[int, list[np.ndarray]] = {}
        whose: dict[int, list[_Wanted]] = {}
        for one in self._wanted:
            for part, local in one.shares():
                columns.setdefault(part, []).append([one.type.columns[name] for name in one.names])
                rows.setdefault(part, []).append(local)
                whose.setdefault(part, []).append(one)
        asked = {part: Message({"ask": "take", "columns": columns[part]}, rows[part]) for part in columns}
        for part, reply in self._owners.ask(asked).items():
            arrays = iter(reply.arrays)
            for one in whose[part]:
                for name in one.names:
                    one.put(part, name, next(arrays, None))
        for one in self._wanted:
            one.spread()
        self._wanted = []

    def _empty(self, rows: int, one: Type, name: str) -> np.ndarray:
        dtype, shape = one.attributes[name]
        return self._memory.empty((rows, *shape), DTYPES[dtype])


class _Wanted:
    """Rows of one type on their way: those that are not kept, each asked for once, in ascending order."""

    def __init__(
        self, one: Type, places: np.ndarray, names: list[str], kept: Kept | None, out: dict[str, np.ndarray]
    ) -> None:
        self.type, self.names, self._out = one, names, out
        order = np.argsort(places, kind="stable")
        if kept is not None and len(kept.places):
            at = np.minimum(np.searchsorted(kept.places, places), len(kept.places) - 1)
            hit = kept.places[at] == places
            for name in names:
                out[name][hit] = kept.values[name][at[hit]]
            order = order[~hit[order]]
        ascending = places[order]
        first = np.ones(len(order), dtype=bool)
        first[1:] = ascending[1:] != ascending[:-1]
        self._distinct = ascending[first]
        self._goes_to = order[first]
        self._again, self._from = order[~first], self._goes_to[np.cumsum(first) - 1][~first]
        self._cuts = np.searchsorted(self._distinct, one.bounds)

    def shares(self) -> list[tuple[int, np.ndarray]]:
        """Each part that has some of the rows, and which of its rows."""
        return [
            (part, self._distinct[start:stop] - self.type.bounds[part])
            for part, (start, stop) in enumerate(zip(self._cuts[:-1], self._cuts[1:], strict=True))
            if start < stop
        ]

    def put(self, part: int, name: str, found: np.ndarray | None) -> None:
        """Puts what a part has sent where it belongs."""
        out, where = self._out[name], self._goes_to[self._cuts[part] : self._cuts[part + 1]]
        must = (len(where), *out.shape[1:])
        if found is None or found.shape != must or found.dtype != out.dtype:
            got = "nothing" if found is None else f"{list(found.shape)} of {found.dtype}"
            raise ArtifactError(
                f"Part {part} must send {list(must)} of {out.dtype} for {name!r} of {self.type.name!r}, got {got}; "
                "copy book and pieces from one partition_graph"
            )
        out[where] = found

    def spread(self) -> None:
        """Copies the rows that are wanted more than once."""
        if len(self._again):
            for out in self._out.values():
                out[self._again] = out[self._from]
