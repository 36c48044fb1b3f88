"""Items on disk that can be added, updated and deleted while others search."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from filelock import FileLock, Timeout

from mmgraph.errors import ArtifactError, DataError
from mmgraph.index.base import Index
from mmgraph.index.exact import Exact
from mmgraph.index.faiss import Faiss
from mmgraph.index.inputs import as_ids, as_metadata, as_vectors, check_choice, check_count
from mmgraph.index.journal import Journal, Manifest
from mmgraph.index.saved import check_origin
from mmgraph.index.score import METRICS, Metric
from mmgraph.index.searchable import Hit
from mmgraph.index.snapshot import Items, Segment, Snapshot, gather, without

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

Large = Literal["exact", "hnsw", "ivf", "ivfpq"]
LARGE: tuple[str, ...] = get_args(Large)
EXACT_BELOW = 50_000


class Store:
    """A folder of items that can be searched, added to, updated, deleted from and compacted.

    A write seals its items in a folder of their own (a segment), and counts from the moment that the manifest, one
    small file, is replaced: a writer killed at any point leaves the store as it was before the write or after it.
    One writer works at a time, and others wait for it. Readers wait for nobody: what they search is a `Snapshot`,
    wholly in memory, that changes with `refresh` alone.

    Segments of fewer than ``exact_below`` items are searched exactly; larger ones by an index of the kind ``large``.
    A write merges the small segments at the end that hold no more items than what comes after them, so that there are
    at most some log₂ ``exact_below`` of them (Bentley & Saxe, Decomposable searching problems, 1980,
    doi:10.1016/0196-6774(80)90015-2); `compact` merges all.

    Args:
        folder: A folder that `create` made.
        fingerprint: The fingerprint of the schema that queries will be made under; None trusts the caller.
        model: The digest of the model that queries will be made by; None trusts the caller.
        subgraph: Gives the graph of the item with an id; fills ``Hit.subgraph``.
        wait_s: How long a write waits for another writer, in seconds.

    Raises:
        ArtifactError: The folder is missing, damaged, no store, of a newer format, or of another schema or model.

    Example:
        >>> store = Store.create(getfixture("tmp_path") / "items", channels=2)
        >>> store.add([[1, 0], [0, 1]], ["cat", "dog"], metadata={"year": [1, 2]})
        >>> reader = Store(store.folder)
        >>> store.update([[1, 1]], ["cat"], metadata={"year": [3]})
        >>> store.delete(["dog"])
        >>> [(hit.id, round(hit.score, 3)) for hit in store.search([1, 0])]
        [('cat', 0.707)]
        >>> [hit.id for hit in reader.search([1, 0])], reader.refresh(), len(reader)
        (['cat', 'dog'], True, 1)
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        fingerprint: str | None = None,
        model: str | None = None,
        subgraph: "Callable[[str], HeteroData] | None" = None,
        wait_s: float = 60.0,
    ) -> None:
        self.folder = Path(folder).absolute()
        self.subgraph = subgraph
        self._journal = Journal(self.folder)
        self._wait_s = wait_s
        self._show(*self._journal.read())
        made = {"fingerprint": self._manifest.fingerprint, "model": self._manifest.model}
        check_origin(self.folder, made, fingerprint=fingerprint, model=model)

    @classmethod
    def create(
        cls,
        folder: str | Path,
        *,
        channels: int,
        metric: Metric = "cosine",
        fingerprint: str = "",
        model: str = "",
        large: Large = "ivfpq",
        exact_below: int = EXACT_BELOW,
        subgraph: "Callable[[str], HeteroData] | None" = None,
    ) -> "Store":
        """Makes an empty store.

        Args:
            folder: Where; there must be no store yet.
            channels: Width of the vectors.
            metric: ``"cosine"``, ``"dot"`` or ``"euclidean"``.
            fingerprint: The fingerprint of the schema that the vectors are made under.
            model: The digest of the model that makes the vectors.
            large: How large segments are searched: ``"exact"``, or a kind of `Faiss`.
            exact_below: From how many items on a segment is large.
            subgraph: See `Store`.

        Raises:
            ConfigError: An option is out of range.
            ArtifactError: There is a store already.
        """
        check_count("channels", channels)
        check_choice("metric", metric, METRICS)
        check_choice("large", large, LARGE)
        check_count("exact_below", exact_below)
        manifest = Manifest(
            channels=int(channels),
            metric=metric,
            fingerprint=fingerprint,
            model=model,
            large=large,
            exact_below=int(exact_below),
        )
        Journal(Path(folder).absolute()).create(manifest)
        return cls(folder, subgraph=subgraph)

    @property
    def snapshot(self) -> Snapshot:
        """What is searched: for several questions that must see the same items."""
        return self._snapshot

    def __len__(self) -> int:
        return len(self._snapshot)

    def refresh(self) -> bool:
        """Takes up what writers have done since; says whether there was anything."""
        if self._journal.manifest() == self._manifest:
            return False
        self._show(*self._journal.read(self._snapshot.segments))
        return True

    def search(
        self, query: Any, k: int = 10, *, where: Mapping[str, Any] | None = None, exclude: Iterable[str] = ()
    ) -> list[Hit]:
        """Finds the k best items for one query; see `Index.search`."""
        return self._snapshot.search(query, k, where=where, exclude=exclude)

    def add(self, vectors: Any, ids: Iterable[str], *, metadata: Mapping[str, Sequence[Any]] | None = None) -> None:
        """Writes new items.

        Args:
            vectors: Finite real numbers ``[items, channels]``.
            ids: One string an item, none of them in the store.
            metadata: Columns, one JSON value an item; items without a column hold None in it.

        Raises:
            DataError: The items do not fit together, or an id is in the store.
            ArtifactError: Another writer has been at work for longer than ``wait_s``, or the store is damaged.
        """
        self._put(vectors, ids, metadata, replace=False)

    def update(self, vectors: Any, ids: Iterable[str], *, metadata: Mapping[str, Sequence[Any]] | None = None) -> None:
        """Writes items in place of those with the same ids, and new ones beside them, in one step; see `add`.

        What is updated moves to the end of the order, and forgets its earlier metadata.
        """
        self._put(vectors, ids, metadata, replace=True)

    def delete(self, ids: Iterable[str]) -> None:
        """Deletes items, all or none.

        Raises:
            DataError: An id is not in the store.
            ArtifactError: See `add`.
        """
        names = list(ids)
        with self._writing():
            places = [self._snapshot.place(name) for name in names]
            if places:
                self._commit(without(self._snapshot.segments, places), None, self._manifest.columns)

    def compact(self) -> None:
        """Merges all segments into one, drops what was deleted, and indexes anew what is large enough.

        Raises:
            ArtifactError: See `add`.
        """
        with self._writing():
            segments, columns = self._snapshot.segments, self._manifest.columns
            if len(segments) > 1 or any(one.dead for one in segments):
                nothing = Items(np.empty((0, self._manifest.channels), dtype=np.float32), [], {})
                self._commit([], gather(segments, nothing, columns), columns)

    def _put(
        self, vectors: Any, ids: Iterable[str], metadata: Mapping[str, Sequence[Any]] | None, *, replace: bool
    ) -> None:
        rows = as_vectors(vectors)
        new = Items(rows, as_ids(ids, len(rows)), as_metadata(metadata, len(rows)))
        if rows.shape[1] != self._manifest.channels:
            raise DataError(
                f"Vectors must be as wide as the store, shape [items, {self._manifest.channels}], "
                f"got {list(rows.shape)}; encode them with the model that made the store"
            )
        with self._writing():
            places = {name: place for name in new.ids if (place := self._snapshot.locate(name)) is not None}
            if places and not replace:
                raise DataError(f"Ids must be new to the store, got {next(iter(places))!r}; update replaces items")
            if new.ids:
                kept = without(self._snapshot.segments, places.values())
                start = self._first_merged(kept, len(new.ids))
                columns = tuple(dict.fromkeys([*self._manifest.columns, *new.metadata]))
                self._commit(kept[:start], gather(kept[start:], new, columns), columns)

    def _first_merged(self, segments: Sequence[Segment], items: int) -> int:
        """Which of the segments is the first that new items are merged with."""
        first = len(segments)
        while first > 0 and len(segments[first - 1]) <= min(items, self._manifest.exact_below - 1 - items):
            first -= 1
            items += len(segments[first])
        return first

    def _commit(self, kept: Sequence[Segment], new: Items | None, columns: Sequence[str]) -> None:
        index = None if new is None or not new.ids else self._index(new)
        self._show(*self._journal.commit(self._manifest, kept, index, columns))

    def _index(self, items: Items) -> Index:
        given: dict[str, Any] = {"metadata": items.metadata, "metric": self._manifest.metric}
        large: Any = self._manifest.large
        if len(items.ids) < self._manifest.exact_below or large == "exact":
            return Exact(items.vectors, items.ids, **given)
        return Faiss(items.vectors, items.ids, kind=large, **given)

    def _show(self, manifest: Manifest, segments: Sequence[Segment]) -> None:
        self._manifest = manifest
        self._snapshot = Snapshot(
            segments,
            generation=manifest.generation,
            columns=manifest.columns,
            channels=manifest.channels,
            metric=manifest.metric,
            fingerprint=manifest.fingerprint,
            model=manifest.model,
            subgraph=self.subgraph,
        )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Keeps other writers out, and starts from what they have left."""
        lock = FileLock(self.folder / ".lock", thread_local=False)
        try:
            lock.acquire(timeout=self._wait_s)
        except Timeout:
            raise ArtifactError(
                f"Store {str(self.folder)!r} must have one writer at a time, and another has been at work for "
                f"{self._wait_s:g} s; try again, or give a larger wait_s"
            ) from None
        try:
            self.refresh()
            yield
        finally:
            lock.release()
