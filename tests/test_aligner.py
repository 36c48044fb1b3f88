import pytest
import torch
from torch import nn

import mmgraph as mg
from mmgraph.encoders import Raw
from mmgraph.errors import ConfigError
from mmgraph.layers import Mean, Stack
from mmgraph.schema import NodeSpec, Schema
from mmgraph.testing import fake_graph

NEAR = ("subject", "near", "subject")


def aligner(schema, **options):
    torch.manual_seed(0)
    spaces = options.pop("spaces", {"joint": {"scan": nn.Linear(3, 4), "text": nn.Linear(5, 4)}})
    return mg.Aligner(schema=schema, encoder=Raw(["scan", "text"]), spaces=spaces, **options)


def layers():
    within = Stack(
        Mean(3, 3, relations=[("scan", "next", "scan")]),
        Mean(5, 5, relations=[("text", "next", "text")]),
    )
    return {"within": within, "between": Mean(4, 4, relations=[NEAR])}


def parts(graph, node, rows):
    """The mean of each anchor's nodes, by a loop."""
    index = graph[node, "of", "subject"].edge_index
    found = torch.zeros(rows, graph[node].x.shape[1])
    for anchor in range(rows):
        own = index[0][index[1] == anchor]
        if len(own):
            found[anchor] = graph[node].x[own].mean(dim=0)
    return found, torch.tensor([bool((index[1] == anchor).any()) for anchor in range(rows)])


def test_a_view_is_the_projected_mean_of_the_anchors_nodes():
    graph, schema = fake_graph()
    model = aligner(schema)
    found = model.project(graph)
    assert list(found) == ["joint"]
    for name, module in zip(("scan", "text"), model.projections["[joint]"].values(), strict=True):
        mean, present = parts(graph, name, 40)
        seen = found["joint"][name]
        assert torch.equal(seen.present, present)
        assert torch.allclose(seen.states, module(mean) * present[:, None], atol=1e-6)


def test_vectors_have_unit_length_and_are_nan_where_a_view_has_nothing():
    graph, schema = fake_graph()
    found = aligner(schema)(graph)
    _, present = parts(graph, "scan", 40)
    assert torch.equal(~found["scan"].isnan().any(dim=1), present)
    assert torch.allclose(found["scan"][present].norm(dim=1), torch.ones(int(present.sum())))


@pytest.mark.parametrize("moved", ["scan", "text"])
def test_no_view_can_read_what_it_is_matched_with(moved):
    graph, schema = fake_graph()
    model = aligner(schema, **layers()).eval()
    before = model(graph)
    graph[moved].x = torch.randn_like(graph[moved].x)
    after = model(graph)
    other = "text" if moved == "scan" else "scan"
    assert torch.equal(before[other].nan_to_num(9), after[other].nan_to_num(9))
    assert not torch.equal(before[moved].nan_to_num(9), after[moved].nan_to_num(9))


def test_relations_made_from_a_modality_are_not_in_the_views_of_others():
    graph, schema = fake_graph()
    graph["subject", "near_scan", "subject"].edge_index = torch.tensor([[0, 1], [1, 2]])
    schema = Schema.infer(graph, anchor="subject")
    model = aligner(schema)
    assert model.hidden(graph, "text")["subject", "near_scan", "subject"].edge_index.shape == (2, 0)
    assert model.hidden(graph, "scan")["subject", "near_scan", "subject"].edge_index.shape == (2, 2)
    seen = model.hidden(graph, "text")
    assert seen["scan"].num_nodes == 0


def test_an_anchors_own_features_are_a_view_and_hidden_from_the_others():
    graph, schema = fake_graph()
    graph["subject"].x = torch.randn(40, 2)
    schema = Schema.infer(graph, anchor="subject")
    spaces = {"joint": {"subject": nn.Linear(2, 4), "text": nn.Linear(5, 4)}}
    model = mg.Aligner(schema=schema, encoder=Raw(["subject", "text"]), spaces=spaces)
    assert list(model.views) == ["text", "subject"]
    assert model.hidden(graph, "text")["subject"].x.eq(0).all()
    assert torch.equal(model.hidden(graph, "subject")["subject"].x, graph["subject"].x)
    assert not model(graph)["subject"].isnan().any()


def test_spaces_are_a_graph_from_fine_to_coarse():
    graph, schema = fake_graph()
    fine, coarse, text = nn.Linear(3, 6), nn.Linear(6, 4), nn.Linear(5, 4)
    model = aligner(schema, spaces={"fine": {"scan": fine}, "coarse": {"fine": coarse, "text": text}})
    found = model.project(graph)
    assert {space: list(views) for space, views in found.items()} == {"fine": ["scan"], "coarse": ["scan", "text"]}
    mean, present = parts(graph, "scan", 40)
    expected = coarse(fine(mean) * present[:, None]) * present[:, None]
    assert torch.allclose(found["coarse"]["scan"].states, expected, atol=1e-6)


def test_a_view_of_several_modalities_is_the_mean_of_those_that_are_there():
    graph, schema = fake_graph()
    model = aligner(schema, views={"both": ("scan", "text"), "text": ("text",)})
    joint = model.project(graph)["joint"]
    scan, text = (aligner(schema).project(graph)["joint"][name] for name in ("scan", "text"))
    counts = scan.present.long() + text.present.long()
    assert torch.equal(joint["both"].present, counts > 0)
    expected = (scan.states + text.states) / counts.clamp_min(1)[:, None]
    assert torch.allclose(joint["both"].states, expected, atol=1e-6)


def test_between_moves_states_along_relations_and_leaves_absent_ones_at_zero():
    graph, schema = fake_graph()
    model = aligner(schema, between=layers()["between"])
    plain = aligner(schema)
    seen, still = model.project(graph)["joint"]["scan"], plain.project(graph)["joint"]["scan"]
    assert not torch.allclose(seen.states, still.states)
    assert seen.states[~seen.present].eq(0).all()


def test_one_vector_an_anchor_is_the_mean_of_its_views():
    graph, schema = fake_graph()
    model = aligner(schema)
    vectors, found = model.embed(graph), model(graph)
    both = torch.stack([found["scan"], found["text"]])
    assert torch.allclose(vectors, both.nanmean(dim=0).nan_to_num(0.0), atol=1e-6)
    assert torch.equal(model.embed_subgraphs(graph, hops=0), vectors)
    assert model.embed_subgraphs(graph, hops=1).shape == vectors.shape
    assert not torch.equal(model.embed_subgraphs(graph, hops=1), vectors)


def test_every_weight_is_saved_and_learns():
    graph, schema = fake_graph()
    model = aligner(schema, **layers())
    sum(seen.states.square().sum() for seen in model.project(graph)["joint"].values()).backward()
    assert all(p.grad is not None for p in model.parameters())
    assert {name.split(".")[0] for name in model.state_dict()} == {"projections", "within", "between"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spaces": {}}, "spaces needs at least 1 space"),
        ({"spaces": {"joint": {}}}, "spaces needs at least 1 space"),
        ({"spaces": {"scan": {"text": nn.Identity()}}}, "another name than a modality, got 'scan'"),
        (
            {"spaces": {"joint": {"sound": nn.Identity()}}},
            r"modalities \['scan', 'text'\] or earlier spaces \[\], got 'sound'",
        ),
        ({"views": {}}, "needs at least 1 view"),
        ({"views": {"a": ()}}, r"View 'a' must see some of the modalities \['scan', 'text'\], got \[\]"),
        (
            {"spaces": {"fine": {"scan": nn.Identity()}, "last": {"text": nn.Identity()}}},
            r"View 'scan' must reach the last space, 'last', got \['fine', 'scan'\]",
        ),
    ],
)
def test_odd_aligners_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        aligner(fake_graph()[1], **options)


def test_a_module_given_twice_is_refused_and_shared_through_a_space():
    _, schema = fake_graph()
    shared = nn.Linear(3, 4)
    with pytest.raises(ConfigError, match="'text' in 'joint' needs a module of its own, got that of 'scan' in 'joint'"):
        aligner(schema, spaces={"joint": {"scan": shared, "text": shared}})
    aligner(schema, spaces={"joint": {"scan": nn.Identity(), "text": nn.Identity()}})


def test_no_anchor_is_refused():
    with pytest.raises(ConfigError, match="needs a schema with an anchor, got none"):
        mg.Aligner(schema=Schema(nodes={"a": NodeSpec()}), encoder=Raw(["a"]), spaces={"joint": {"a": Stack()}})
