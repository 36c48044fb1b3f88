"""What the examples tell, nothing else tells: digits and words of an episode."""

import pytest
import torch

from mmgraph.errors import DataError
from mmgraph.recipe import load_recipe

RECIPE = load_recipe("alayrac2022_flamingo_avdigits").module


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    config = RECIPE.Config(limit=40)
    try:
        yield config, *RECIPE.build(config, 0, 0)
    except DataError as error:
        pytest.skip(f"mnist20k is not here: {error}")
    finally:
        patch.undo()
        RECIPE.language_model.cache_clear()


@pytest.mark.data
def test_the_word_of_what_is_asked_is_among_the_examples_alone(case):
    _, graph, schema = case
    assert graph["episode"].num_nodes == 40 + 4 + 8
    asked, _ = graph["picture", "of", "episode"].edge_index
    named, pictures = graph["word", "names", "picture"].edge_index
    assert not set(asked.tolist()) & set(pictures.tolist())
    word_of = dict(zip(pictures.tolist(), graph["word"].x[named], strict=True))
    model = RECIPE.make_model(case[0], schema).decoder.model
    answers = model.embed(graph["answer"].tokens[:, 0])
    for name, number in RECIPE.SHOTS.items():
        picture, episode = graph["picture", name, "episode"].edge_index
        for row in range(5):
            words = torch.stack([word_of[one] for one in picture[episode == row].tolist()])
            assert len(words) == 3 * number
            assert len(words.unique(dim=0)) == 3
            assert int((words == answers[row]).all(dim=1).sum()) == number


@pytest.mark.data
def test_the_model_reads_the_examples_and_leaves_the_language_model_as_it_is(case):
    config, graph, schema = case
    torch.manual_seed(0)
    model, objective = RECIPE.make_model(config, schema), RECIPE.make_objective(config, schema)
    objective(model, graph)["total"].backward()
    assert all(weight.grad is None for weight in model.decoder.model.parameters())
    rivals = {"full": model, **{name: make(config, schema) for name, make in RECIPE.RIVALS.items()}}
    seen = {name: int(one.sources(graph).present.sum(dim=1).unique()) for name, one in rivals.items()}
    assert seen == {"full": 13, "shots_2": 7, "shots_1": 4, "shots_0": 1}
    sources = model.eval().sources(graph)
    changed = graph.clone()
    changed["word"].x = changed["word"].x.roll(1, 0)
    assert not torch.allclose(model.sources(changed).states[:, :-1], sources.states[:, :-1])
    assert torch.equal(model.sources(changed).states[:, -1], sources.states[:, -1])  # the last one has no word
