"""The made-up texts: what they tell, that pairs of entities keep to their part, and who hears whom."""

from collections import Counter

import pytest
import torch

from mmgraph.encoders import spell
from mmgraph.errors import DataError
from mmgraph.functional import read_triples
from mmgraph.recipe import load_recipe


@pytest.fixture(scope="module")
def case():
    recipe = load_recipe("text_to_graph_codex")
    config = recipe.config({"limit": 1000})
    try:
        graph, schema = recipe.module.build(config, 0, 0)
    except DataError as error:
        pytest.skip(f"dataset codex_s is not here: {error}")
    return recipe.module, config, graph, schema


@pytest.mark.data
def test_texts_tell_their_graphs_and_pairs_keep_to_their_part(case):
    _, _, graph, schema = case
    vocabulary = schema.nodes["graph"].vocabulary
    lines = spell(vocabulary, graph["graph"].tokens)
    owner = graph["word", "of", "text"].edge_index[1]
    pairs = {part: set() for part in ("train", "val", "test")}
    for part in pairs:
        for row in graph["text"][f"{part}_mask"].nonzero()[:, 0].tolist():
            text = "".join(vocabulary[number] for number in graph["word"].symbol[owner == row].tolist())
            for head, relation, tail in read_triples(lines[row]):
                pairs[part].add(frozenset((head, tail)))
                assert tail.replace(" ", "") in text.replace("Ġ", "") or not tail.isascii()
                assert relation
                assert head.replace(" ", "") in text.replace("Ġ", "") or not head.isascii()
    assert Counter(graph["text"].train_mask.tolist())[True] == 1000
    # a name may be that of two entities, so a few pairs of names may be the same where those of entities are not
    assert len(pairs["train"] & pairs["test"]) < 0.02 * len(pairs["test"])


@pytest.mark.data
def test_pieces_hear_those_before_and_after_of_their_own_text(case):
    module, config, graph, schema = case
    owner, position = graph["word", "of", "text"].edge_index[1], graph["word"].position
    for step in module.STEPS:
        source, target = graph["word", f"next_{step}", "word"].edge_index
        assert (owner[source] == owner[target]).all()
        assert (position[target] - position[source] == step).all()
        assert torch.equal(graph["word", f"before_{step}", "word"].edge_index, torch.stack([target, source]))
    torch.manual_seed(0)
    full, bag = module.make_model(config, schema), module.RIVALS["bag"](config, schema)
    assert len(full.within.layers) == len(module.STEPS)
    assert len(bag.within.layers) == 0
