"""A node that all of a subgraph point at reads it as pooling does: averaging without a state of its own is the mean."""

import torch

from mmgraph.builders import patterns
from mmgraph.functional import readout, subgraphs
from mmgraph.layers import Mean, edge_sets
from mmgraph.testing import fake_graph
from mmgraph.typing import EdgeSet

CHANNELS = 3


def averaging(relations):
    """Mean aggregation with W = 1 and B = 0."""
    layer = Mean(CHANNELS, CHANNELS, relations=relations, activation=None, bias=False)
    with torch.no_grad():
        for linear in layer.neighbour.values():
            linear.weight.copy_(torch.eye(CHANNELS))
        for linear in layer.root.values():
            linear.weight.zero_()
    return layer


def test_a_virtual_node_of_each_sample_is_the_mean_of_its_nodes():
    graph, _ = patterns.latents(*fake_graph(), types=["scan"], count=1, node="whole")
    informs = ("scan", "informs", "whole")
    features = {"scan": graph["scan"].x, "whole": torch.randn(graph["whole"].num_nodes, CHANNELS)}
    states = averaging([informs])(features, edge_sets(graph))["whole"]
    owner, number = graph["scan", "of", "subject"].edge_index[1], graph["whole", "of", "subject"].edge_index
    for whole, subject in number.T.tolist():
        members = graph["scan"].x[owner == subject]
        expected = members.mean(dim=0) if len(members) else torch.zeros(CHANNELS)
        torch.testing.assert_close(states[whole], expected)


def test_a_virtual_node_of_a_subgraph_is_its_mean_readout():
    """A node for each centre, with an edge from every member of the subgraph around it."""
    graph, _ = fake_graph()
    index = graph["subject", "near", "subject"].edge_index
    x = torch.randn(40, CHANNELS)
    pairs, _ = subgraphs(index, 40, hops=2)
    layer = averaging([("subject", "in", "whole")])
    states = layer({"subject": x, "whole": torch.randn(40, CHANNELS)}, {("subject", "in", "whole"): EdgeSet(pairs)})[
        "whole"
    ]
    torch.testing.assert_close(states, readout(x, index, hops=2, weights="mean"))
