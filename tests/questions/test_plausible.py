from itertools import product

import pytest
import torch

from mmgraph import KnowledgeGraph, Triples
from mmgraph.errors import ConfigError, DataError
from mmgraph.linker import Linker
from mmgraph.questions import Path, Query, path, plausible, rank_answers
from mmgraph.scorers import ComplEx, DistMult, RotatE, TransE, TuckER

NAMES = list("abcdef")
FACTS = Triples(list("aabcdeaf"), ["r", "s", "r", "s", "r", "s", "s", "r"], list("bccdefff"))


def made(scorer, seed=0):
    known = KnowledgeGraph.fit(FACTS)
    torch.manual_seed(seed)
    linker = Linker(schema=known.schema, scorer=scorer).eval()
    with torch.no_grad():
        linker.entities.normal_()
        linker.relations.normal_()
    return linker, known.graph


def truth(linker, graph, relation, kind):
    """Truth of every fact of a relation, ``[entities, entities]``."""
    number = linker.numbering.number(relation)
    scores = linker.answers(graph, torch.arange(6), torch.full((6,), number)).detach()
    if kind == "sigmoid":
        return 1 / (1 + (-scores).exp())
    return scores.softmax(dim=1) / scores.softmax(dim=1).amax(dim=1, keepdim=True)


def slow(linker, graph, query, norm, kind):
    """All chains of entities, one by one."""
    join = {"product": lambda a, b: a * b, "least": min}[norm]

    def best(start, relations):
        found = []
        for end in range(6):
            values = []
            for between in product(range(6), repeat=len(relations) - 1):
                chain, value = [None, *between, end], None
                for step, relation in enumerate(relations):
                    table = truth(linker, graph, relation, kind)
                    if step == 0:
                        value = start(table, chain[1])
                    else:
                        value = join(value, float(table[chain[step], chain[step + 1]]))
                values.append(value)
            found.append(max(values))
        return found

    branches = [
        best(lambda table, to, source=branch.entity: float(table[source, to]), branch.relations)
        for branch in query.branches
    ]
    met = branches[0]
    for other in branches[1:]:
        met = [join(one, two) for one, two in zip(met, other, strict=True)]
    if not query.then:
        return torch.tensor(met)

    def go_on(table, to):
        return max(join(met[source], float(table[source, to])) for source in range(6))

    return torch.tensor(best(go_on, query.then))


QUERIES = [
    path(0, "r"),
    path(0, "r", "^s"),
    path(1, "s", "r", "s"),
    Query((Path(0, ("r",)), Path(2, ("^s",)))),
    Query((Path(0, ("r",)), Path(2, ("s", "r")), Path(3, ("s",)))),
    Query((Path(0, ("r",)), Path(1, ("s",))), ("r",)),
]


@pytest.mark.parametrize("norm", ["product", "least"])
@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_a_beam_of_all_entities_equals_all_chains(norm, kind):
    linker, graph = made(ComplEx(4))
    found = plausible(linker, graph, QUERIES, width=9, norm=norm, truth=kind)
    for row, query in zip(found, QUERIES, strict=True):
        torch.testing.assert_close(row, slow(linker, graph, query, norm, kind), atol=1e-5, rtol=1e-4)


def test_a_narrow_beam_follows_the_best_alone():
    linker, graph = made(ComplEx(4))
    first, last = truth(linker, graph, "r", "softmax")[0], truth(linker, graph, "s", "softmax")
    found = plausible(linker, graph, [path(0, "r", "s")], width=1)[0]
    torch.testing.assert_close(found, first.max() * last[int(first.argmax())], atol=1e-5, rtol=1e-4)
    wide = plausible(linker, graph, [path(0, "r", "s")], width=6)[0]
    assert (wide >= found - 1e-6).all()


@pytest.mark.parametrize("scorer", [TransE(4), DistMult(4), ComplEx(4), RotatE(4)], ids=lambda one: type(one).__name__)
def test_vectors_of_relations_are_composed(scorer):
    linker, graph = made(scorer)
    h, (r, s) = linker.entities.detach(), linker.relations.detach()[:2]
    if isinstance(scorer, TransE):
        scores = -(h[0] + r + s - h).abs().sum(dim=1)
    elif isinstance(scorer, DistMult):
        scores = h @ (h[0] * r * s)
    else:
        (re, im) = h.chunk(2, dim=1)
        z = torch.complex(re, im)
        if isinstance(scorer, ComplEx):
            turned = z[0] * torch.complex(*r.chunk(2)) * torch.complex(*s.chunk(2))
            scores = (turned * z.conj()).real.sum(dim=1)
        else:
            scores = -(z[0] * torch.polar(torch.ones(2), r + s) - z).abs().sum(dim=1)
    found = plausible(linker, graph, [path(0, "r", "s")], way="vectors")[0]
    torch.testing.assert_close(found, (scores - scores.max()).exp(), atol=1e-5, rtol=1e-4)


def test_composed_branches_meet():
    linker, graph = made(DistMult(4))
    alone = plausible(linker, graph, [path(0, "r", "s"), path(1, "s")], way="vectors")
    query = Query((Path(0, ("r", "s")), Path(1, ("s",))))
    met = plausible(linker, graph, [query], way="vectors")[0]
    torch.testing.assert_close(met, alone[0] * alone[1])
    on = plausible(linker, graph, [Query(query.branches, ("r",))], way="vectors")[0]
    best = int(met.argmax())
    torch.testing.assert_close(on, met[best] * plausible(linker, graph, [path(best, "r")], way="vectors")[0])


def test_no_query_has_no_row():
    assert plausible(*made(DistMult(4)), []).shape == (0, 6)


def test_what_it_cannot_do_is_named():
    linker, graph = made(DistMult(4))
    for options, message in (
        ({"way": "walk"}, "way must be one of .* got 'walk'"),
        ({"norm": "sum"}, "norm must be one of .* got 'sum'"),
        ({"truth": "raw"}, "truth must be one of .* got 'raw'"),
        ({"width": 0}, "width must be at least 1, got 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            plausible(linker, graph, [path(0, "r")], **options)
    with pytest.raises(DataError, match="0 to 5, got 6"):
        plausible(linker, graph, [path(6, "r")])


def slow_rank(scores, known, sought):
    totals = []
    for row in range(len(scores)):
        answers = [e for e in range(scores.shape[1]) if sought[row, e]]
        rivals = [e for e in range(scores.shape[1]) if not sought[row, e] and not known[row, e]]
        places = []
        for answer in answers:
            own = float(scores[row, answer])
            above = sum(float(scores[row, e]) > own for e in rivals)
            level = sum(float(scores[row, e]) == own for e in rivals)
            places.append(1 + above + level / 2)
        if places:
            totals.append(
                [sum(1 / p for p in places) / len(places)]
                + [sum(p <= k for p in places) / len(places) for k in (1, 3, 10)]
            )
    return [sum(column) / len(totals) for column in zip(*totals, strict=True)]


def test_ranks_equal_a_slow_loop():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(6, (20, 15), generator=generator).float()
    known = torch.rand(20, 15, generator=generator) < 0.2
    sought = (torch.rand(20, 15, generator=generator) < 0.15) & ~known
    sought[3] = False
    found = rank_answers(scores, known, sought)
    assert list(found) == ["mrr", "hits@1", "hits@3", "hits@10"]
    assert list(found.values()) == pytest.approx(slow_rank(scores, known, sought))


def test_bad_masks_are_named():
    mask = torch.ones(1, 2, dtype=torch.bool)
    for given, message in (
        ((torch.ones(1, 3), mask, mask), r"got \[1, 3\], \[1, 2\] and \[1, 2\]"),
        ((torch.ones(1, 2), mask, mask), "got 2 that are both"),
        ((torch.ones(1, 2), mask, ~mask), "at least 1 sought answer, got none"),
    ):
        with pytest.raises(DataError, match=message):
            rank_answers(*given)


def test_every_scorer_can_be_asked_by_beam():
    assert plausible(*made(TuckER(4, 3)), [path(0, "r", "s")]).shape == (1, 6)
