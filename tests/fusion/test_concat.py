import torch
from torch import nn

from mmgraph.fusion import Concat
from mmgraph.keys import weight_key
from mmgraph.layers import Mean
from mmgraph.typing import EdgeSet


def test_equals_a_slow_loop(parts, widths):
    torch.manual_seed(0)
    fusion = Concat(widths, 5).double()
    values, present = parts
    weight, out = fusion.linear.weight, fusion(*parts)
    for anchor in range(15):
        row, start = fusion.linear.bias.clone(), 0
        for name in sorted(widths):
            if present[name][anchor]:
                row = row + weight[:, start : start + widths[name]] @ values[name][anchor]
            start += widths[name]
        if not any(mask[anchor] for mask in present.values()):
            row = torch.zeros(5)
        torch.testing.assert_close(out[anchor], row.double(), rtol=1e-12, atol=1e-12)


def test_is_a_star_of_relation_typed_messages():
    """Concatenation and a linear map = one message a modality node, with the weights of its relation, summed."""
    torch.manual_seed(0)
    names, anchors = ("audio", "image", "text"), 6
    fusion = Concat(dict.fromkeys(names, 4), 5).double()
    relations = [(name, "of", "anchor") for name in names]
    star = Mean(4, 5, relations=relations, activation=None).double()
    for number, relation in enumerate(relations):
        star.neighbour[weight_key(*relation)].weight.data = fusion.linear.weight.data[:, 4 * number : 4 * number + 4]
    nn.init.zeros_(star.root[weight_key("anchor")].weight)
    star.root[weight_key("anchor")].bias.data = fusion.linear.bias.data
    owners = {name: torch.randperm(anchors)[: 3 + number] for number, name in enumerate(names)}  # some lack a node
    nodes = {name: torch.randn(len(owner), 4, dtype=torch.float64) for name, owner in owners.items()}
    edges = {
        (name, "of", "anchor"): EdgeSet(torch.stack([torch.arange(len(owner)), owner]))
        for name, owner in owners.items()
    }
    features = {**nodes, "anchor": torch.zeros(anchors, 4, dtype=torch.float64)}
    parts, present = {}, {}
    for name, owner in owners.items():
        parts[name], present[name] = torch.zeros(anchors, 4).double(), torch.zeros(anchors, dtype=torch.bool)
        parts[name][owner], present[name][owner] = nodes[name], True
    joined = torch.stack(list(present.values())).any(dim=0)
    assert joined.all()  # an anchor that nothing hangs on would get the bias from the star, zeros from the fusion
    torch.testing.assert_close(fusion(parts, present), star(features, edges)["anchor"], rtol=1e-12, atol=1e-12)
