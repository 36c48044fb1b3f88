import pytest
import torch
from torch import nn
from torch_geometric.data import HeteroData

from mmgraph.encoders import Raw
from mmgraph.errors import ConfigError
from mmgraph.model import Model
from mmgraph.objectives import Supervised
from mmgraph.questions import Answers, Follower, ask
from mmgraph.schema import Schema
from mmgraph.train import FitConfig, fit

KNOWS, LIKES = [(0, 1), (0, 2), (1, 3), (2, 3), (3, 0), (1, 1)], [(1, 4), (2, 0), (3, 4)]
ABOUT = [[0], [0, 1], [4], []]


def made(reads=None, back=False, hops=2, channels=3, seed=0):
    graph = HeteroData()
    graph["question"].x = torch.randn(4, channels, generator=torch.Generator().manual_seed(seed))
    graph["entity"].num_nodes = 5
    graph["entity", "knows", "entity"].edge_index = torch.tensor(KNOWS).T
    graph["entity", "likes", "entity"].edge_index = torch.tensor(LIKES).T
    schema = Schema.infer(graph, anchor="question")
    graph, schema = ask(graph, schema, about=ABOUT, answers=[[3]] * 4, names=list("abcde"), reads=reads)
    torch.manual_seed(seed)
    reader = Model(schema=schema, encoder=Raw(["question"]), head=nn.Identity())
    return Follower(reader, channels, hops=hops, back=back), graph


def slow(model, graph, reads=None, back=False):
    """Walkers, one entity and fact at a time."""
    facts = [KNOWS, LIKES, *([[(b, a) for a, b in KNOWS], [(b, a) for a, b in LIKES]] if back else [])]
    ends = torch.zeros(4, 5)
    for question in range(4):
        state = {entity: 1 / len(ABOUT[question]) for entity in ABOUT[question]}
        for choose in model.choose:
            choice = choose(graph["question"].x[question]).softmax(dim=0).tolist()
            after = {entity: share * choice[-1] for entity, share in state.items()}
            for relation, chance in zip(facts, choice, strict=False):
                for entity, share in state.items():
                    out = [b for a, b in relation if a == entity]
                    for target in out:
                        after[target] = after.get(target, 0.0) + share * chance / len(out)
            state = after if reads is None else {e: s for e, s in after.items() if e in reads[question].tolist()}
        for entity, share in state.items():
            ends[question, entity] = share
    return ends


READS = [torch.tensor([0, 1, 3]), torch.tensor([1, 4]), torch.tensor([0]), torch.tensor([2])]


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("hops", [1, 3])
@pytest.mark.parametrize("reads", [None, READS])
def test_a_walk_equals_walkers_one_by_one(reads, hops, back):
    model, graph = made(reads, back, hops)
    walked = model.walk(graph)
    torch.testing.assert_close(walked.ends, slow(model, graph, reads, back))
    assert (walked.ends.sum(dim=1) <= 1 + 1e-6).all()
    torch.testing.assert_close(model(graph), walked.ends.clamp_min(1e-12).log())
    assert walked.choices.shape == (hops, 4, len(model.names) + 1)


def test_it_learns_paths_from_answers_alone():
    """Two kinds of question: who is known by those whom X knows, and whom do they like?"""
    generator = torch.Generator().manual_seed(0)
    people, graph = 60, HeteroData()
    tables = {name: torch.randperm(people, generator=generator) for name in ("knows", "likes")}
    kinds, topics = torch.arange(120) % 2, torch.arange(120) // 2
    paths = [("knows", "knows"), ("knows", "likes")]
    graph["question"].x = nn.functional.one_hot(kinds, 2).float()
    graph["entity"].num_nodes = people
    for name, table in tables.items():
        graph["entity", name, "entity"].edge_index = torch.stack([torch.arange(people), table])
    part = torch.randperm(120, generator=generator) % 4
    for number, name in enumerate(("val", "test")):
        graph["question"][f"{name}_mask"] = part == number
    graph["question"].train_mask = part > 1
    schema = Schema.infer(graph, anchor="question")
    answers = [[int(tables[paths[k][1]][tables[paths[k][0]][t]])] for k, t in zip(kinds, topics, strict=True)]
    about = topics[:, None].tolist()
    graph, schema = ask(graph, schema, about=about, answers=answers, names=[str(n) for n in range(people)])
    torch.manual_seed(0)
    model = Follower(Model(schema=schema, encoder=Raw(["question"]), head=nn.Identity()), 2)
    config = FitConfig(epochs=40, learning_rate=0.1, weight_decay=0.0, patience=None, monitor="accuracy")
    fitted = fit(model, Supervised(schema.targets["answer"]), Answers(schema), graph, config)
    assert fitted.evaluate("test")["accuracy"] == 1.0
    assert set(zip(kinds.tolist(), model.paths(graph), strict=True)) == set(enumerate(paths))


def test_an_empty_graph_leads_nowhere():
    model, graph = made()
    for edge in graph.edge_types:
        graph[edge].edge_index = torch.empty(2, 0, dtype=torch.long)
    assert model.walk(graph).ends.sum() == 0
    model(graph).sum().backward()


def test_it_says_what_it_needs():
    graph = HeteroData()
    graph["question"].x, graph["entity"].num_nodes = torch.ones(1, 2), 1
    schema = Schema.infer(graph, anchor="question")
    reader = Model(schema=schema, encoder=Raw(["question"]), head=nn.Identity())
    with pytest.raises(ConfigError, match="at least 1 hop, relations among 'entity'"):
        Follower(reader, 2)
    with pytest.raises(ConfigError, match="got 0 hops"):
        made(hops=0)
