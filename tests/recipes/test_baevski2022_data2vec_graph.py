"""No label shapes the network of the recipe, and its rival is never trained."""

import torch
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph.recipe import load_recipe


def papers():
    torch.manual_seed(0)
    graph = HeteroData()
    graph["paper"].x = torch.rand(30, 12)
    graph["paper"].y = torch.arange(30) % 3
    graph["paper", "cites", "paper"].edge_index = torch.randint(30, (2, 90))
    for number, part in enumerate(("train", "val", "test")):
        graph["paper"][f"{part}_mask"] = torch.arange(30) // 10 == number
    schema = mg.Schema.infer(graph, anchor="paper")
    (target,) = schema.targets.values()
    return graph, schema.model_copy(update={"targets": {"subject": target}})


def test_no_label_shapes_the_network():
    graph, schema = papers()
    module = load_recipe("baevski2022_data2vec_graph").module
    config = module.Config(channels=8)
    gradients = []
    for labels in (graph["paper"].y, graph["paper"].y.roll(1)):
        torch.manual_seed(1)
        model, objective = module.make_model(config, schema), module.make_objective(config, schema)
        graph["paper"].y = labels
        objective(model, graph)["total"].backward()
        gradients.append([weight.grad for weight in model.between.parameters()])
        assert all(weight.grad is not None for weight in model.head.parameters())
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
    assert any(bool((one != 0).any()) for one in gradients[0])


def test_the_untrained_rival_learns_its_probe_alone():
    graph, schema = papers()
    module = load_recipe("baevski2022_data2vec_graph").module
    config = module.Config(channels=8)
    model = module.RIVALS["untrained_encoder"](config, schema)
    module.RIVAL_OBJECTIVES["untrained_encoder"](config, schema)(model, graph)["total"].backward()
    assert all(weight.grad is None for weight in model.between.parameters())
    assert all(weight.grad is not None for weight in model.head.parameters())
