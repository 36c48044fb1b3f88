"""Subgraphs as vectors: hidden labels, the same order from every exact index, new subjects, filters."""

import networkx as nx
import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph.encoders import Raw
from mmgraph.errors import ConfigError, DataError
from mmgraph.functional import readout, subgraphs
from mmgraph.index import load
from mmgraph.layers import Readout
from mmgraph.schema import Schema
from mmgraph.search import KINDS, embed, embed_new, index_subgraphs, subgraph
from mmgraph.testing import fake_graph, fake_records


@pytest.fixture(scope="module")
def records():
    return fake_records(subjects=60, missing=0.2, seed=1)


@pytest.fixture(scope="module")
def population(records):
    return mg.Population.fit(
        records, mg.stratified_split(records.labels), mg.PopulationConfig(k=3, regime="single_query")
    )


@pytest.fixture(scope="module")
def model(population):
    torch.manual_seed(0)
    return mg.classifier(population.schema).eval()


def _joined(population) -> nx.DiGraph:
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(population.ids)))
    for relation in population.schema.relations("subject"):
        graph.add_edges_from(population.graph[relation].edge_index.T.tolist())
    return graph


@pytest.mark.parametrize("hops", [0, 1, 2])
def test_a_subgraphs_vector_is_the_mean_state_of_those_within_reach(population, model, hops: int) -> None:
    vectors = embed(model, population.graph, hops=hops)
    with torch.no_grad():
        states = model.embed(population.graph).numpy()
    reversed_ = _joined(population).reverse()
    for row in range(len(population.ids)):
        members = list(nx.single_source_shortest_path_length(reversed_, row, cutoff=hops))
        assert np.allclose(vectors[row], states[members].mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("weights", ["walk", "decay", "sum"])
def test_members_count_as_asked(population, model, weights: str) -> None:
    index = torch.cat([population.graph[one].edge_index for one in population.schema.relations("subject")], dim=1)
    with torch.no_grad():
        expected = readout(model.embed(population.graph), index, hops=2, weights=weights).numpy()
    found = index_subgraphs(model, population.graph, population.ids, hops=2, weights=weights)
    assert np.allclose(found.vectors, expected, atol=1e-6)


def test_a_model_that_reads_out_itself_shows_the_subgraphs_it_has_read() -> None:
    graph, schema = fake_graph(12)
    near = next(iter(schema.relations("subject")))
    spaces = {"joint": {"scan": nn.Linear(3, 4), "text": nn.Linear(5, 4)}}
    aligner = mg.Aligner(
        schema=schema, encoder=Raw(["scan", "text"]), spaces=spaces, between=Readout(relations=[near], hops=1)
    )
    index = index_subgraphs(aligner, graph, hops=0, show=1)
    with torch.no_grad():
        assert np.allclose(index.vectors, aligner.embed(graph), atol=1e-6)
    member, centre = subgraphs(graph[near].edge_index, 12, hops=1)[0]
    hit = index.search_id("subject-3", k=1)[0]
    assert sorted(hit.subgraph["subject"].n_id.tolist()) == member[centre == hit.position].tolist()


def test_labels_do_not_reach_the_vectors(population, model) -> None:
    other = population.graph.clone()
    other["subject"].y = 1 - other["subject"].y
    assert np.array_equal(embed(model, population.graph), embed(model, other))


def test_a_hits_subgraph_holds_the_neighbourhood_with_its_modality_nodes(population, model) -> None:
    reversed_ = _joined(population).reverse()
    found = subgraph(population.graph, population.schema, 7, hops=2)
    members = set(nx.single_source_shortest_path_length(reversed_, 7, cutoff=2))
    assert set(found["subject"].n_id.tolist()) == members
    for name in population.schema.modalities:
        owner = population.graph[name, "of", "subject"].edge_index[1]
        assert set(owner[found[name].n_id].tolist()) == members & set(owner.tolist())
    population.schema.check(found)
    assert "y" not in found["subject"]


def test_flat_index_answers_as_the_exact_one_does(population, model) -> None:
    exact = index_subgraphs(model, population.graph, population.ids)
    flat = index_subgraphs(model, population.graph, population.ids, kind="flat")
    for one in population.ids[:10]:
        assert [h.id for h in exact.search_id(one, k=8)] == [h.id for h in flat.search_id(one, k=8)]


@pytest.mark.parametrize("kind", ["hnsw", "ivf", "ivfpq"])
def test_approximate_indexes_find_most_of_them(population, model, kind: str) -> None:
    exact = index_subgraphs(model, population.graph, population.ids)
    other = index_subgraphs(model, population.graph, population.ids, kind=kind)
    shared = [
        len({h.id for h in exact.search_id(one, k=5)} & {h.id for h in other.search_id(one, k=5)})
        for one in population.ids
    ]
    assert np.mean(shared) / 5 > 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_are_written_and_read_again(population, model, tmp_path, kind: str) -> None:
    index = index_subgraphs(model, population.graph, population.ids, hops=2, kind=kind)
    index.save(tmp_path / "index")
    again = load(tmp_path / "index", subgraph=lambda row: subgraph(population.graph, population.schema, row, hops=2))
    for one in population.ids[:5]:
        hits = [(hit.id, hit.score, hit.metadata["part"]) for hit in index.search_id(one, k=5)]
        assert hits == [(hit.id, hit.score, hit.metadata["part"]) for hit in again.search_id(one, k=5)]
        vectors = index.vectors / np.linalg.norm(index.vectors, axis=1, keepdims=True)
        for name, score, _ in hits:  # by the vectors themselves, whatever codes they were found by
            assert score == pytest.approx(vectors[population.rows[one]] @ vectors[population.rows[name]], abs=1e-5)


def test_metadata_holds_label_and_part_and_filters(population, model, records) -> None:
    index = index_subgraphs(model, population.graph, population.ids)
    hits = index.search_id(population.ids[0], k=50, where={"part": ["val", "test"], records.target: records.classes[1]})
    assert hits
    for hit in hits:
        row = population.rows[hit.id]
        assert population.graph["subject"].y[row] == 1
        assert not population.graph["subject"].train_mask[row]


def test_a_new_subject_with_known_features_gets_the_vector_of_its_twin(population, model, records) -> None:
    """In the single-query regime a test subject is attached alone: as a new subject is."""
    for row in population.graph["subject"].test_mask.nonzero().flatten().tolist()[:5]:
        twin = records.take([row])
        renamed = mg.Records(ids=["twin"], modalities=twin.modalities)
        assert np.allclose(embed_new(model, population, renamed), embed(model, population.graph)[row], atol=1e-5)


def test_names_are_numbered_where_none_are_given(population, model) -> None:
    assert index_subgraphs(model, population.graph).ids[3] == "subject-3"


def test_errors_name_the_value(population, model, records) -> None:
    with pytest.raises(ConfigError, match="'exact', 'flat', 'hnsw', 'ivf', 'ivfpq'., got 'tree'"):
        index_subgraphs(model, population.graph, kind="tree")
    with pytest.raises(DataError, match="the records of 1 subject, got 2"):
        embed_new(model, population, records.take([0, 1]))


def test_a_subgraph_goes_through_nodes_of_other_types():
    """Film 0 – studio 0 – film 1; film 2 leads to film 0; stills go with their film."""
    graph = HeteroData()
    graph["film"].x, graph["studio"].x, graph["still"].x = torch.empty(4, 0), torch.empty(2, 0), torch.ones(3, 2)
    graph["still", "of", "film"].edge_index = torch.tensor([[0, 1, 2], [0, 1, 3]])
    graph["film", "made_by", "studio"].edge_index = torch.tensor([[0, 1, 3], [0, 0, 1]])
    graph["film", "before", "film"].edge_index = torch.tensor([[2, 0], [0, 3]])
    schema = Schema.infer(graph, anchor="film")

    def rows(hops):
        found = subgraph(graph, schema, 0, hops=hops)
        return [found[node].n_id.tolist() for node in ("film", "studio", "still")]

    assert rows(0) == [[0], [], [0]]
    assert rows(1) == [[0, 2], [0], [0]]
    assert rows(2) == [[0, 1, 2], [0], [0, 1]]
    assert subgraph(graph, schema, 0, hops=2)["film", "made_by", "studio"].edge_index.tolist() == [[0, 1], [0, 0]]
