"""Everything public that has a conformance case is made again from its blueprint, with equal answers to the bit."""

import copy
import importlib.util
import json
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor, nn

from mmgraph import encoders
from mmgraph.blueprint import blueprint, first_difference, rebuild, register
from mmgraph.functional.ranking import Scores
from mmgraph.objectives import Objective
from mmgraph.testing import fake_graph
from mmgraph.translator import Translator
from mmgraph.typing import Sources

SPEC = importlib.util.spec_from_file_location(
    "conformance_cases", Path(__file__).parents[1] / "testing" / "test_conformance.py"
)
conformance = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(conformance)
register(conformance.Related)
register(conformance.Whole)

NO_MODULE = {"PayloadGeneration", "TextGeneration", "TripleGeneration"}  # tasks that are checked without a model


def again(module: nn.Module) -> nn.Module:
    """The same, by way of JSON."""
    module.eval()
    text = json.dumps(blueprint(module), allow_nan=False)
    state = copy.deepcopy(module.state_dict())
    made = rebuild(json.loads(text))
    assert json.dumps(blueprint(made)) == text
    made.load_state_dict(state)
    assert first_difference(module, made) is None
    return made.eval()


def tensors(given):
    """All tensors of an answer, in order."""
    if isinstance(given, Tensor):
        return [given]
    if isinstance(given, Scores):
        return [given[:]]
    if isinstance(given, dict):
        return [one for key in sorted(given) for one in tensors(given[key])]
    if isinstance(given, list | tuple):
        return [one for part in given for one in tensors(part)]
    return []


@torch.no_grad()
def same(module, ask):
    made = again(module)
    torch.manual_seed(0)
    wanted = tensors(ask(module))
    torch.manual_seed(0)
    found = tensors(ask(made))
    assert wanted
    for one, other in zip(wanted, found, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)


def of_generative(decoder, payload, **_):
    generator = Generator().manual_seed(0)
    present = torch.rand(len(payload), 4, generator=generator) < 0.6
    sources = Sources(torch.randn(len(payload), 4, decoder.channels, generator=generator), present)
    same(decoder, lambda made: made.losses(sources, payload))
    same(decoder, lambda made: made.generate(sources, generator=Generator().manual_seed(1)))


def of_scorer(scorer):
    rows = [torch.randn(5, width) for width in (scorer.channels, scorer.relation_channels, scorer.channels)]
    same(scorer, lambda made: [made(*rows), made.against(*rows)])


def of_model(model, _, graph, *rest, **options):
    def ask(made):
        made = getattr(made, "linker", made)
        return [made.generate(graph), made.losses(graph)] if isinstance(made, Translator) else made(graph)

    same(model, ask)


CHECKS = {
    "check_encoder": lambda module, graph, schema: same(module, lambda made: made(graph)),
    "check_layer": lambda module, *given: same(module, lambda made: made(*given)),
    "check_fusion": lambda module, *given: same(module, lambda made: made(*given)),
    "check_generative": of_generative,
    "check_scorer": of_scorer,
    "check_objective": lambda objective, model, graph, nothing: of_model(model, objective, graph),
    "check_no_leak": of_model,
    "check_task": lambda *given, **options: None,
    "check_generation": lambda *given, **options: None,
}
CASES = [(cls.__name__, how, run) for cls, how, run in conformance.CASES if cls.__name__ not in NO_MODULE]
ONCE = {}  # one case of each objective and task: their models are few
for name, how, run in CASES:
    kind = next(cls for cls, *_ in conformance.CASES if cls.__name__ == name)
    if issubclass(kind, nn.Module) and not issubclass(kind, Objective):
        ONCE[name, how] = run
    else:
        ONCE.setdefault((name, ""), run)


@pytest.mark.parametrize("run", [pytest.param(run, id=" ".join(key).strip()) for key, run in ONCE.items()])
def test_it_is_made_again_with_equal_answers(run, monkeypatch):
    if run is conformance.nodes_by_name:  # which checks by itself
        graph, _ = fake_graph()
        nodes = encoders.Nodes({"subject": 40, "scan": graph["scan"].num_nodes}, 4)
        same(nodes, lambda made: made(graph))
        return
    seen = []
    for name, check in CHECKS.items():
        monkeypatch.setattr(conformance, name, lambda *given, check=check, **options: seen.append(check(*given)))
    torch.manual_seed(0)
    run()
    assert seen
