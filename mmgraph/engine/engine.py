"""The engine: payloads of any modalities in, typed subgraphs out, with what they stand for and why they were found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mmgraph.assembly.built import BESIDE as ABOUT
from mmgraph.assembly.built import Built
from mmgraph.engine.changes import Join, make_change
from mmgraph.engine.fields import modality_fields
from mmgraph.engine.hit import Hit, Node
from mmgraph.engine.joint import Joint
from mmgraph.engine.kept import Kept, Kind, is_alike
from mmgraph.engine.live import Unwritten, unchanged
from mmgraph.engine.neighbours import Neighbourhood, neighbourhood
from mmgraph.engine.searched import LEVELS, Asked, Level, Searched, check_hops, check_text_weight
from mmgraph.engine.state import State, read_state, writing
from mmgraph.errors import ArtifactError, ConfigError, DataError

if TYPE_CHECKING:
    from mmgraph.aligner import Aligner
    from mmgraph.encoders import FeatureCache


class Engine:
    """Finds the parts of a graph that are most like a query, which is itself a small graph of payloads.

    Made of a graph in memory, by :meth:`build` in the graph's folder, or by :meth:`open` from there. What is searched
    does not change under a search: :meth:`refresh` takes up what other processes have written.

    Args:
        built: The graph, its payloads and its encoders.
        model: An aligner: all modalities are compared in its space, so a text finds pictures. ``None`` compares each
            modality with its own.
        text_weight: The share of the words (BM25) in the value of a match of texts.

    Raises:
        ConfigError: An option is out of range.
        ArtifactError: The model is of another schema.

    Example:
        >>> import pyarrow as pa
        >>> from mmgraph.assembly import GraphConfig, Source, build_graph
        >>> films = pa.table({"id": ["a", "b"], "plot": ["A dog runs in the rain.", "Two thieves meet."]})
        >>> config = GraphConfig(nodes={"film": {"table": "films", "key": "id", "columns": {"plot": "text"}}})
        >>> engine = Engine.build(build_graph(Source(config, {"films": films})), getfixture("tmp_path") / "films")
        >>> hit = engine.search({"text": "the dog"}, k=1)[0]
        >>> hit.id, hit.payload("plot"), hit.subgraph["film"].num_nodes
        ('a', 'A dog runs in the rain.', 1)
        >>> [(reason.query, reason.matched[0].row, reason.contribution == hit.score) for reason in hit.reasons]
        [('plot', 0, True)]
        >>> engine.add({"c": {"plot": "A dog meets two thieves."}})
        >>> [hit.id for hit in Engine.open(getfixture("tmp_path") / "films").search({"plot": "dog thieves"}, k=1)]
        ['c']
    """

    def __init__(self, built: Built, *, model: Aligner | str | Path | None = None, text_weight: float = 0.0) -> None:
        check_text_weight(text_weight)
        joint = None if model is None else Joint.of(model, built)
        live = unchanged(built, {node: Unwritten(built, node) for node in built.payloads})
        self._kept: Kept | None = None
        self._state = State(graph="", schema=built.schema.fingerprint, text_weight=text_weight)
        self._now = Searched(live, modality_fields(built) if joint is None else joint.fields(built), joint)

    @classmethod
    def build(
        cls,
        built: Built,
        folder: str | Path,
        *,
        model: Aligner | str | Path | None = None,
        kind: Kind = "exact",
        text_weight: float = 0.0,
    ) -> Self:
        """Makes an engine in a graph's folder, which is written if it is not there; what was added to it stays.

        Args:
            built: The graph.
            folder: Where it was, or is to be written.
            model: An aligner, or the folder of a run whose model is one; see :class:`Engine`.
            kind: How nodes are found: ``exact`` looks at all, the others at some (see :mod:`mmgraph.index`).
            text_weight: See :class:`Engine`.

        Raises:
            ConfigError: An option is out of range, or the folder holds something else.
            ArtifactError: The folder holds another graph, or the model is of another schema.
        """
        check_text_weight(text_weight)
        folder = Path(folder)
        if not (folder / ABOUT / "graph.json").is_file():
            built.write(folder)
        engine = cls.__new__(cls)
        engine._kept = Kept(folder)
        with writing(folder):
            if not is_alike(built, Built.open(folder)):
                raise ArtifactError(
                    f"Folder {str(folder)!r} must hold the graph that is given, got another; open that by Built.open, "
                    "or choose another folder"
                )
            engine._kept.compact(None if model is None else Joint.of(model, built), kind, text_weight)
        return engine

    @classmethod
    def open(cls, folder: str | Path, *, model: Aligner | str | Path | None = None) -> Self:
        """Opens the engine in a graph's folder; where none was made, all nodes of the graph are looked at.

        Args:
            folder: The folder of the graph.
            model: The model that it was made with, where that is not from a run.

        Raises:
            ArtifactError: A file is missing or damaged, it was made with another model or of another graph, or the
                folder holds something else.
        """
        engine = cls.__new__(cls)
        engine._kept = Kept(Path(folder))
        engine._kept.read(model)
        return engine

    @property
    def folder(self) -> Path | None:
        """The folder of the graph; ``None`` in memory."""
        return None if self._kept is None else self._kept.folder

    @property
    def state(self) -> State:
        """What the engine was made with."""
        return self._state if self._kept is None else self._kept.state

    @property
    def now(self) -> Searched:
        """What is searched: for several questions that must see the same graph."""
        return self._now if self._kept is None else self._kept.now

    @property
    def built(self) -> Built:
        """The graph as it is now."""
        return self.now.built

    def search(
        self,
        payloads: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,
        k: int = 10,
        where: Mapping[str, Any] | None = None,
        level: Level = "sample",
        hops: int = 1,
        text_weight: float | None = None,
        cache: FeatureCache | None = None,
    ) -> list[Hit]:
        """Finds what is most like a query.

        Args:
            payloads: Modality node type, or name of a modality that one node type has → a payload, or a list of them:
                a text, the bytes of a file or its path, a row of a table as a mapping.
            id: Or an anchor, by what hangs on it; it is not found itself.
            k: How many.
            where: What a hit must have, ``{column: value, or a set, list or tuple of values}``; ``"node"`` is the type
                of the nodes (with a model: the view) that it may be found by.
            level: What is found: single modality nodes, anchors by what hangs on them, or anchors by all that is
                within ``hops`` edges, the less the farther.
            hops: Radius of the subgraph that a hit carries, and of what it is found by at the level of subgraphs.
            text_weight: The share of the words in the value of a match of texts, 0 to 1; ``None`` for the engine's.
            cache: Where the features of payloads are looked up and kept.

        Returns:
            At most k hits, the best first; equal ones in their order.

        Raises:
            ConfigError: Both or none of ``payloads`` and ``id``, a modality that the graph does not have, an unknown
                column or level, ``k`` below 1.
            DataError: An unknown id, or a payload that can't be read or says nothing.
            ArtifactError: The encoder of a payload is gone, or has changed.
        """
        weight = self.state.text_weight if text_weight is None else text_weight
        return self.now.search(Asked(payloads, id, k, where or {}, level, hops, weight, cache))

    def neighbours(self, id: str, *, hops: int = 1, most: int = 200) -> Neighbourhood:
        """The neighbourhood of an anchor, to be drawn and walked.

        Args:
            id: The anchor.
            hops: How many edges away.
            most: How many nodes; the nearer ones first.

        Raises:
            ConfigError: ``hops`` or ``most`` is out of range.
            DataError: There is no such anchor.
        """
        check_hops(hops)
        if most < 1:
            raise ConfigError(f"most must be at least 1, got {most}")
        now = self.now
        return neighbourhood(now.built, now.around, Node(now.anchor, now.row(id)), hops=hops, most=most)

    def describe(self) -> dict[str, Any]:
        """What can be searched: the anchor, its modalities, the columns to filter by, the levels; JSON throughout."""
        now, state = self.now, self.state
        graph, schema = now.built.graph, now.built.schema
        return {
            "anchor": now.anchor,
            "anchors": len(now.built.ids),
            "modalities": {
                name: {
                    "modality": str(schema.nodes[name].modality),
                    "of": next(edge[2] for edge in schema.edges if edge[:2] == (name, "of")),
                    "nodes": int(graph[name].num_nodes or 0),
                }
                for name in now.searchable("subgraph")
            },
            "fields": {
                name: {"nodes": list(one.nodes), "items": len(one.rows), "channels": int(one.vectors.shape[1])}
                for name, one in now.fields.items()
            },
            "nodes": {node: int(graph[node].num_nodes or 0) for node in schema.nodes},
            "edges": [
                {"source": edge[0], "relation": edge[1], "target": edge[2], "edges": int(graph[edge].num_edges)}
                for edge in schema.edges
            ],
            "columns": list(now.columns),
            "levels": list(LEVELS),
            "kind": state.kind,
            "model": "" if now.joint is None else now.joint.digest,
            "text_weight": state.text_weight,
            "changes": len(state.changes),
            "fingerprint": schema.fingerprint,
        }

    def payload(self, node: str, row: int) -> str | bytes:
        """What one modality node stands for: a text, the bytes of a file, JSON of the rest.

        Raises:
            ConfigError: There is no such node type.
            DataError: It has no such row.
        """
        return self.now.payload(node, row)

    def add(
        self,
        anchors: Mapping[str, Mapping[str, Any]],
        *,
        edges: Sequence[Join] = (),
        cache: FeatureCache | None = None,
    ) -> None:
        """Adds anchors, all of them or none; whoever opens or refreshes the engine from then on finds them.

        Args:
            anchors: Key → {modality node type, or modality: payload or list of them; column that was kept: text}.
            edges: To and from them: (edge type, key of the source, key of the target).
            cache: Where the features of payloads are looked up and kept.

        Raises:
            ConfigError: The engine has no folder, or an anchor or edge is to have what none has.
            DataError: A key is there already, or a payload can't be read.
            ArtifactError: Another writer is at work for a minute, or an encoder is gone.
        """
        self._change(anchors, update=False, edges=edges, cache=cache)

    def update(
        self,
        anchors: Mapping[str, Mapping[str, Any]],
        *,
        edges: Sequence[Join] = (),
        cache: FeatureCache | None = None,
    ) -> None:
        """Puts anchors in the place of those with the same keys, which keep their edges and labels; see :meth:`add`.

        Raises:
            DataError: A key is not there; see also :meth:`add`.
        """
        self._change(anchors, update=True, edges=edges, cache=cache)

    def delete(self, ids: Iterable[str]) -> None:
        """Deletes anchors with all that hangs on them, all of them or none.

        Raises:
            DataError: A key is not there, or stands twice; see also :meth:`add`.
        """
        names = list(ids)
        kept = self._own()
        with writing(kept.folder):
            self.refresh()
            for name in names:
                kept.now.row(name)
            if len(set(names)) < len(names):
                raise DataError(f"Keys to delete must differ, got {names}")
            if names:
                kept.commit(make_change(kept.now.built, {}, deleted=names))

    def compact(self, *, kind: Kind | None = None) -> None:
        """Writes the graph as it is now, without what was deleted, and indexes it anew.

        Args:
            kind: How nodes are found; ``None`` for as before.

        Raises:
            ConfigError: The engine has no folder, or there is no such kind.
            ArtifactError: Another writer is at work for a minute.
        """
        kept = self._own()
        with writing(kept.folder):
            self.refresh()
            kept.compact(kept.now.joint, kind or kept.state.kind, kept.state.text_weight)

    def refresh(self) -> bool:
        """Takes up what others have written since; says whether there was anything.

        Raises:
            ArtifactError: The graph was built anew since, or a file is damaged.
        """
        kept = self._own()
        found = read_state(kept.folder)
        if found is None or found == kept.state:
            return False
        kept.read()
        return True

    def _own(self) -> Kept:
        if self._kept is None:
            raise ConfigError("The engine must have a folder to be changed, got one in memory; make it by Engine.build")
        return self._kept

    def _change(
        self, anchors: Mapping[str, Any], *, update: bool, edges: Sequence[Join], cache: FeatureCache | None
    ) -> None:
        kept = self._own()
        with writing(kept.folder):
            self.refresh()
            for id in anchors:
                if (id in kept.now.rows) != update:
                    raise DataError(f"Keys must be {'there' if update else 'new'}, got {id!r}")
            if anchors:
                updated = list(anchors) if update else []
                kept.commit(make_change(kept.now.built, anchors, updated=updated, joins=edges, cache=cache))
