"""A run: a recipe carried out in a folder that holds all that it gave, and that can be opened and searched."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file

from mmgraph.builders import Population
from mmgraph.data.graph_file import load_graph, save_graph
from mmgraph.data.records import Records
from mmgraph.errors import ArtifactError, ConfigError, DataError, MMGraphError
from mmgraph.explain import Cases, explain_cases
from mmgraph.files import check_seal, claim, new_folder, read_json, seal, sha256, write_bytes, write_json
from mmgraph.index import Hit, Index
from mmgraph.index import load as load_index
from mmgraph.linker import Linker
from mmgraph.model import Model
from mmgraph.recipe import Recipe, load_recipe, plain
from mmgraph.schema import Schema, view
from mmgraph.search import anchor_labels, embed_new, index_subgraphs, parts_of, subgraph
from mmgraph.train.evaluate import SHEET, WEIGHTS, evaluate
from mmgraph.train.experiment import experiment
from mmgraph.train.processes import Place
from mmgraph.train.record import record
from mmgraph.train.results import Results
from mmgraph.train.trial import Given

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

    from mmgraph.report import Neighbourhood, Story
    from mmgraph.trackers import Tracker

FORMAT = "mmgraph.run/1"
SHOWN = 12  # neighbours drawn in the report
EXPLAINED = 3  # predictions taken apart in it
MOST = 500_000  # numbers that each of them may rest on: more would take minutes


@dataclass(frozen=True)
class Run:
    """A finished run.

    Args:
        folder: Where it is.
        recipe: What was carried out.
        config: With which settings.
        results: What came out.
        facts: Versions, machine, commit, command and time.

    Example:
        A run is made by :meth:`execute` (or ``mmgraph run``) and opened again by :meth:`open`::

            run = Run.open("runs/population_wdbc")
            for hit in run.search(id="patient-007", k=5):
                print(hit.id, hit.score, hit.metadata)
    """

    folder: Path
    recipe: Recipe
    config: Any
    results: Results
    facts: Mapping[str, Any]

    @classmethod
    def execute(
        cls, recipe: Recipe, config: Any, folder: Path, *, tracker: Tracker | None = None, progress: bool = False
    ) -> Run:
        """Carries out a recipe; in the folder of a killed run it goes on where that stopped.

        Args:
            recipe: What to carry out.
            config: Its settings.
            folder: Of the run.
            tracker: Where its cells can be watched, see :mod:`mmgraph.trackers`.
            progress: Show a bar.

        Raises:
            ConfigError: The folder holds a run with other settings.
        """
        _claim(folder, recipe, config)
        asked = experiment(recipe.module, config)
        results = evaluate(**asked, folder=folder, tracker=tracker, progress=progress)
        if not Place.here().leads:  # of several processes, the first one writes
            return cls(folder, recipe, config, results, {})
        write_json(folder / "results.json", results.to_json())
        given = asked["build"](0, 0)
        _save_graph(given, folder)
        facts = {
            **record(),
            "seconds": round(sum(cell.seconds for cell in results.cells), 1),
            "weights_sha256": sha256(folder / WEIGHTS),
        }
        run = cls(folder, recipe, config, results, facts)
        hops = 0 if isinstance(run.model, Linker) else 1  # whose vectors have been learned from what is around
        index_subgraphs(run.model, run.graph, getattr(given, "ids", None), hops=hops, show=1).save(folder / "index")
        write_json(folder / "facts.json", facts)
        return run

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """Opens the folder of a finished run.

        Raises:
            ArtifactError: The folder is not a finished run, or a file in it is damaged.
        """
        folder = Path(folder)
        meta = read_json(folder / "run.json")
        if meta.get("format") != FORMAT:
            raise ArtifactError(f"{str(folder)!r} must be a run of format {FORMAT!r}, got {meta.get('format')!r}")
        recipe = load_recipe(meta["recipe"])
        results = Results.from_json(read_json(folder / "results.json"))
        return cls(folder, recipe, recipe.config(meta["config"]), results, read_json(folder / "facts.json"))

    @cached_property
    def population(self) -> Population | None:
        """The population of the first run; ``None`` if the recipe's graph is not one."""
        folder = self.folder / "population"
        return Population.load(folder) if folder.is_dir() else None

    @cached_property
    def graph(self) -> HeteroData:
        """The graph of the first run."""
        return self._graph_and_schema[0]

    @property
    def schema(self) -> Schema:
        """What the graph means."""
        return self._graph_and_schema[1]

    @cached_property
    def _graph_and_schema(self) -> tuple[HeteroData, Schema]:
        if self.population is not None:
            return self.population.graph, self.population.schema
        folder = self.folder / "graph"
        check_seal(folder)
        return load_graph(folder / "graph.safetensors"), Schema.from_json((folder / "schema.json").read_text())

    @property
    def ids(self) -> Sequence[str]:
        """The names of the anchors."""
        return self.index.ids if self.population is None else self.population.ids

    @cached_property
    def model(self) -> Model:
        """The full model of the first run, with its trained weights.

        Raises:
            ArtifactError: The weights are missing, damaged, or of another model.
        """
        path = self.folder / WEIGHTS
        model: Model = self.recipe.module.make_model(self.config, self.schema)
        try:
            if sha256(path) != self.facts["weights_sha256"]:
                raise ArtifactError(
                    f"Weights {str(path)!r} are damaged: their bytes have changed; run the recipe again"
                )
            model.load_state_dict(load_file(path))
        except (OSError, SafetensorError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise ArtifactError(
                f"Weights {str(path)!r} must fit the recipe's model: {reason}; run the recipe again"
            ) from None
        return model.eval()

    @cached_property
    def index(self) -> Index:
        """The index of the subgraphs around all anchors.

        Raises:
            ArtifactError: It is damaged, or of another schema.
        """
        return load_index(
            self.folder / "index",
            fingerprint=self.schema.fingerprint,
            subgraph=lambda row: subgraph(self.graph, self.schema, row),
        )

    def search(
        self,
        *,
        id: str | None = None,
        records: Records | None = None,
        k: int = 10,
        where: Mapping[str, Any] | None = None,
    ) -> list[Hit]:
        """Finds the subjects whose subgraphs are most like one subject's.

        Args:
            id: A subject of the run, or
            records: one new subject's features; it is attached to the population alone.
            k: How many.
            where: Metadata that a hit must have, e.g. ``{"part": "train"}``.

        Returns:
            The hits, best first, each with its similarity, metadata and subgraph.

        Raises:
            ConfigError: Both or none of ``id`` and ``records``, or records for a graph that is no population.
            DataError: An unknown id or modality, or records of other than one subject.
        """
        if (id is None) == (records is None):
            raise ConfigError("search needs either id= of a subject or records= of a new one")
        if id is not None:
            return self.index.search_id(id, k, where=where)
        assert records is not None
        if self.population is None:
            raise ConfigError(
                f"New subjects can be attached to a population; {self.recipe.name} has a graph of its own"
            )
        return self.index.search(embed_new(self.model, self.population, records), k, where=where)

    def query_records(self, fields: Mapping[str, Any]) -> Records:
        """One new subject from JSON: modality → list of numbers; a modality left out or null is missing.

        Raises:
            DataError: A modality that the population does not have, or none at all.
            ConfigError: The recipe's graph is not a population.
        """
        if self.population is None:
            raise ConfigError(
                f"New subjects can be attached to a population; {self.recipe.name} has a graph of its own"
            )
        known = {name: scaling.channels for name, scaling in self.population.scaling.items()}
        names = set(known) | set(self.population.phenotypes)
        if unknown := sorted(set(fields) - names):
            raise DataError(f"A query's modalities must be among {sorted(names)}, got {unknown[0]!r}")
        given = {name: fields.get(name) for name in known}
        if all(value is None for value in given.values()):
            raise DataError(f"A query must have at least 1 of the modalities {sorted(known)}, got none")
        rows: dict[str, Any] = {n: np.full((1, known[n]), np.nan) if v is None else [v] for n, v in given.items()}
        phenotypes = {name: np.array([fields.get(name)], dtype=object) for name in self.population.phenotypes}
        return Records(ids=["query"], modalities=rows, phenotypes=phenotypes)

    def explain(self, ids: Sequence[str], *, output: str | None = None, most: int | None = None) -> Cases:
        """Says why the model says what it says of some subjects, on the view that its test scores are from.

        Args:
            ids: The subjects.
            output: Name of the class to explain; by default what the model says.
            most: How many numbers, nodes times channels, a score may rest on; by default any.

        Raises:
            DataError: An unknown id, or one that the model may not see beside the test subjects.
            ConfigError: No such class, or a model that can't be explained.
        """
        schema, anchor = self.schema, _anchor(self.schema)
        seen = self.graph
        if schema.regime != "transductive":
            seen = view(seen, schema, keep={anchor: ~seen[anchor].val_mask})
        else:
            seen = view(seen, schema)
        names = [self.ids[row] for row in seen[anchor].n_id.tolist()]
        if unknown := [name for name in ids if name not in names]:
            raise DataError(f"Ids to explain must be among the {len(names)} subjects that are seen, got {unknown[0]!r}")
        labels = anchor_labels(self.graph, schema)
        return explain_cases(
            self.model,
            seen,
            [names.index(name) for name in ids],
            ids=names,
            labels=[labels[row] for row in seen[anchor].n_id.tolist()],
            output=output,
            most=most,
        )

    def _exemplary(self) -> list[str]:
        """A few test subjects: the first of each class that is told right, up to two, and the first told wrong."""
        parts = parts_of(self.graph, _anchor(self.schema))
        test = [name for name, part in zip(self.ids, parts, strict=True) if part == "test"]
        cell = next((one for one in self.results.cells if one.variant == self.results.variants[0]), None)
        if cell is None or not test or not len(test) == len(cell.labels) == len(cell.probabilities):
            return test[:EXPLAINED]
        said, labels = np.asarray(cell.probabilities).argmax(axis=1), np.asarray(cell.labels)
        _, right = np.unique(np.where(said == labels, labels, -1), return_index=True)
        found = [row for row in sorted(right.tolist()) if said[row] == labels[row]][: EXPLAINED - 1]
        wrong = np.flatnonzero((said != labels) & (labels >= 0)).tolist()
        rows = [*found, *wrong[:1]] or list(range(len(test)))
        return [test[row] for row in rows[:EXPLAINED]]

    def write_report(self) -> Path:
        """Writes the run's HTML page, and says where it is."""
        from mmgraph.report import write  # drawing packages take a second to import

        return write(self.story(), self.folder / "report.html")

    def story(self) -> Story:
        """What the run's page is made of."""
        from mmgraph.report import Story

        labels = [label or "not known" for label in anchor_labels(self.graph, self.schema)]
        explained, left_out = None, []
        try:
            explained = self.explain(self._exemplary(), most=MOST)
        except MMGraphError as error:
            left_out.append(f"No explanation of predictions: {error}.")
        return Story(
            title=self.recipe.title,
            lead=self.recipe.description.split("\n\n")[0],
            results=self.results,
            published=self.recipe.published,
            config=asdict(self.config),
            record=self.facts,
            points=self.index.vectors,
            point_ids=self.ids,
            point_labels=labels,
            point_parts=parts_of(self.graph, _anchor(self.schema)),
            neighbourhood=self._neighbourhood(labels),
            explained=explained,
            made=sorted((self.folder / SHEET).glob("*.*")),
            left_out=left_out,
        )

    def _neighbourhood(self, labels: Sequence[str]) -> Neighbourhood:
        """The first test subject, those most like it, and the relations among them."""
        from mmgraph.report import Neighbourhood

        parts = parts_of(self.graph, _anchor(self.schema))
        centre = parts.index("test") if "test" in parts else 0
        hits = self.index.search_id(self.ids[centre], SHOWN)
        rows = [centre, *(hit.position for hit in hits)]
        place = {row: position for position, row in enumerate(rows)}
        edges = {
            (min(place[u], place[v]), max(place[u], place[v]), relation[1])
            for relation in self.schema.relations(_anchor(self.schema))
            for u, v in self.graph[relation].edge_index.T.tolist()
            if u in place and v in place
        }
        return Neighbourhood(
            centre=self.ids[centre],
            ids=[self.ids[row] for row in rows],
            labels=[labels[row] for row in rows],
            edges=sorted(edges),
            similarity=[1.0, *(hit.score for hit in hits)],
        )


def default_folder(recipe: Recipe, config: Any) -> Path:
    """Where a run goes if nobody says: one folder for a recipe as it stands and its settings."""
    text = sha256(recipe.path) + json.dumps(asdict(config), sort_keys=True, default=str)
    return Path("runs") / f"{recipe.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _claim(folder: Path, recipe: Recipe, config: Any) -> None:
    """Writes what the folder is for, or checks that it is for the same."""
    name = recipe.name if recipe.path.is_relative_to(Path(__file__).parents[1]) else str(recipe.path.absolute())
    meta = {"format": FORMAT, "recipe": name, "recipe_sha256": sha256(recipe.path), "config": plain(config)}
    command = " ".join(["mmgraph", *sys.argv[1:]])
    claim(folder / "run.json", meta, "a run", "choose another with --out", command=command)


def _save_graph(given: Given, folder: Path) -> None:
    if isinstance(given, Population):
        given.save(folder / "population")
        return
    graph, schema = given if isinstance(given, tuple) else (given.graph, given.schema)
    with new_folder(folder / "graph") as draft:
        save_graph(graph, draft / "graph.safetensors")
        write_bytes(draft / "schema.json", schema.to_json().encode())
        seal(draft)


def _anchor(schema: Schema) -> str:
    if schema.anchor is None:
        raise ConfigError("A run needs a schema with an anchor, got none; set Schema(anchor=...)")
    return schema.anchor
