"""An engine's files beside a graph, read and written: what is searched now, and how a change comes to count."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mmgraph.assembly.built import BESIDE as ABOUT
from mmgraph.assembly.built import Built
from mmgraph.data import Collection
from mmgraph.engine.changes import Change, Column
from mmgraph.engine.fields import Field, modality_fields
from mmgraph.engine.joint import Joint
from mmgraph.engine.live import Live, Payloads, changed
from mmgraph.engine.searched import Searched
from mmgraph.engine.state import BESIDE, State, read_state, sweep, write_state
from mmgraph.errors import ArtifactError, ConfigError
from mmgraph.files import check_seal, new_folder, seal, sha256
from mmgraph.index import Faiss, Index
from mmgraph.index import load as load_index

if TYPE_CHECKING:
    from mmgraph.aligner import Aligner

Kind = Literal["exact", "hnsw", "ivf", "ivfpq"]
KINDS: tuple[str, ...] = get_args(Kind)
FEW = 256  # items that are all looked at, whatever the kind
VIEWS = "views.safetensors"


@dataclass(frozen=True)
class Base:
    """A graph that was read, and which it was: the digest of the folder, and the base in it."""

    which: tuple[str, str]
    built: Built
    payloads: Payloads


@dataclass(frozen=True)
class Indexes:
    """The indexes in a folder: field → index."""

    name: str = ""
    of: Mapping[str, Index] = field(default_factory=dict)


class Kept:
    """What an engine keeps in a graph's folder; who calls :meth:`commit` or :meth:`compact` must be the only writer.

    Args:
        folder: The folder of the graph.
    """

    state: State
    now: Searched

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._base: Base | None = None
        self._indexes = Indexes()
        self._joint: Joint | None = None

    def read(self, model: Aligner | str | Path | None = None) -> None:
        """Takes up what counts now.

        Args:
            model: The model that the index was made with, where it is not from a run and not known.

        Raises:
            ArtifactError: A file is missing or damaged, of another graph, or made with another model.
        """
        while True:
            state = read_state(self.folder)
            try:
                self._take(state or State(digest_of(self.folder), ""), model)
                return
            except (ArtifactError, OSError) as error:
                if read_state(self.folder) != state:
                    continue  # a writer has removed what this one named
                if isinstance(error, ArtifactError):
                    raise
                raise ArtifactError(f"Folder {str(self.folder)!r} can't be read: {error}; restore a copy") from error

    def commit(self, change: Change) -> None:
        """Writes a change, and lets it count."""
        state, name = self.state, f"change-{self.state.generation + 1:09d}"
        sweep(self.folder, read_state(self.folder))
        change.write(self.folder / BESIDE / name, self.now.built)
        state = replace(state, generation=state.generation + 1, changes=(*state.changes, name))
        write_state(self.folder, state)
        self._take(state, None)

    def compact(self, joint: Joint | None, kind: str, text_weight: float) -> None:
        """Writes base and index anew, and lets them count."""
        if kind not in KINDS:
            raise ConfigError(f"kind must be one of {list(KINDS)}, got {kind!r}")
        given = read_state(self.folder) or State(digest_of(self.folder), "")
        self._check(given)
        beside, number, base = self.folder / BESIDE, given.generation + 1, given.base
        sweep(self.folder, given)
        if given.changes:
            base = f"base-{number:09d}"
            self._live(given).built.write(beside / base)
        built = Built.open(beside / base if base else self.folder)
        vectors = None if joint is None else joint.vectors(built.graph)
        fields = modality_fields(built) if joint is None else joint.fields(built, vectors)
        index = ""
        if joint is not None or kind != "exact":
            index = f"index-{number:09d}"
            with new_folder(beside / index) as draft:
                _write_index(draft, fields, kind, vectors)
        state = State(
            graph=given.graph,
            schema=built.schema.fingerprint,
            kind=kind,
            model="" if joint is None else joint.digest,
            run="" if joint is None else joint.run,
            text_weight=text_weight,
            generation=number,
            base=base,
            index=index,
        )
        write_state(self.folder, state)
        self._joint = joint
        self._take(state, None)

    def _take(self, state: State, model: Aligner | str | Path | None) -> None:
        self._check(state)
        live = self._live(state)
        joint = self._joint_of(state, model, live.built)
        if joint is None:
            fields = modality_fields(live.built)
        else:
            known = state.index and not state.changes
            fields = joint.fields(live.built, _read_views(self.folder / BESIDE / state.index) if known else None)
        if state.index:
            fields = self._with_indexes(fields, state.index, live)
        self._joint = joint
        self.state, self.now = state, Searched(live, fields, joint)

    def _check(self, state: State) -> None:
        """Checks that a state is of the graph beside it.

        Raises:
            ArtifactError: It is of another.
        """
        if state.graph != (found := digest_of(self.folder)):
            raise ArtifactError(
                f"The index in {str(self.folder / BESIDE)!r} must be of the graph beside it, {found[:12]!r}, got one "
                f"of {state.graph[:12]!r}; remove it, and index the graph again"
            )

    def _live(self, state: State) -> Live:
        """The graph that a state names, with its changes."""
        which = (state.graph, state.base)
        if self._base is None or self._base.which != which:
            where = self.folder / BESIDE / state.base if state.base else self.folder
            built, collection = Built.open(where), Collection(where)
            self._base = Base(which, built, {node: Column(collection, node) for node in built.payloads})
        base = self._base
        changes = [Change.read(self.folder / BESIDE / name, base.built) for name in state.changes]
        return changed(base.built, base.payloads, changes)

    def _with_indexes(self, fields: Mapping[str, Field], name: str, live: Live) -> dict[str, Field]:
        """Fields with the indexes that were made of the base, which are read once."""
        folder = self.folder / BESIDE / name
        if self._indexes.name != name:
            check_seal(folder)
            paths = {each: folder / f"field-{number}" for number, each in enumerate(fields)}
            self._indexes = Indexes(name, {each: load_index(path) for each, path in paths.items() if path.is_dir()})
        found = dict(fields)
        for each, index in self._indexes.of.items():
            one = fields[each]
            rows = live.base[live.built.anchor if one.is_view else one.name]
            found[each] = one.with_index(index, rows)
        return found

    def _joint_of(self, state: State, model: Aligner | str | Path | None, built: Built) -> Joint | None:
        """The model of a state.

        Raises:
            ArtifactError: It is not there, or another.
        """
        if not state.model and model is None:
            return None
        if model is not None or (self._joint is None and state.run):
            joint = Joint.of(state.run if model is None else model, built)
        elif self._joint is not None:
            joint = self._joint
        else:
            raise ArtifactError(
                f"The index was made with the model {state.model[:12]!r}, which is not kept with it; give it as model="
            )
        if joint.digest != state.model:
            raise ArtifactError(
                f"The index must be opened with the model that it was made with, {state.model[:12] or 'none'!r}, got "
                f"{joint.digest[:12]!r}; index the graph again, by Engine.build(…, model=…)"
            )
        return joint


def digest_of(folder: Path) -> str:
    """What tells the graph in a folder from others: the digests of all that was written there."""
    digest = hashlib.sha256()
    for path in (folder / "collection.json", folder / ABOUT / "sha256.json"):
        digest.update(sha256(path).encode() if path.is_file() else b"")
    return digest.hexdigest()


def is_alike(built: Built, other: Built) -> bool:
    """Whether two graphs have the same schema, the same anchors, and as many nodes and edges of each type."""

    def counts(one: Built) -> list[int | None]:
        nodes = [one.graph[node].num_nodes for node in one.schema.nodes]
        return nodes + [one.graph[edge].num_edges for edge in one.schema.edges]

    same = built.schema.fingerprint == other.schema.fingerprint
    return same and counts(built) == counts(other) and list(built.ids) == list(other.ids)


def _write_index(
    folder: Path, fields: Mapping[str, Field], kind: str, vectors: Mapping[str, torch.Tensor] | None
) -> None:
    """Writes an index of each field that has many items, and the vectors of a model."""
    for number, one in enumerate(fields.values()):
        if kind != "exact" and len(one.rows) >= FEW:
            index = Faiss(one.vectors, map(str, one.rows.tolist()), kind=kind)  # type: ignore[arg-type]
            index.save(folder / f"field-{number}")
    if vectors is not None:
        save_file({name: states.contiguous() for name, states in vectors.items()}, folder / VIEWS)
    seal(folder)


def _read_views(folder: Path) -> dict[str, torch.Tensor]:
    check_seal(folder)
    try:
        return load_file(folder / VIEWS)
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"File {str(folder / VIEWS)!r} is damaged: {error}; index the graph again") from None
