"""What the agents say, and what the third concludes from it; and that words alone pass between them."""

import pytest
import torch

import mmgraph as mg
from mmgraph.errors import DataError
from mmgraph.recipe import load_recipe


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("zeng2022_socratic_avdigits")


@pytest.fixture(scope="module")
def case(recipe):
    config = recipe.config({})
    try:
        built = recipe.module.build(config, 0, 0)
    except DataError as error:
        pytest.skip(f"dataset avdigits is not here: {error}")
    rows = {"sample": torch.arange(3000) % 60 == 0}
    labels = {"digit": built.graph["sample"].train_mask}
    return config, built, mg.schema.view(built.graph, built.schema, keep=rows, labels=labels)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Seen: surely seven, hardly one. Heard: nothing. Which digit is it?", "seven"),
        ("Seen: perhaps seven, perhaps one. Heard: probably one, perhaps nine. Which digit is it?", "one"),
        ("Seen: surely two, hardly six. Heard: probably six, hardly two. Which digit is it?", "two"),
        ("Seen: nothing. Heard: nothing. Which digit is it?", "zero"),
    ],
)
def test_the_third_agent_multiplies_what_both_are_sure_of(recipe, question, answer):
    assert recipe.module.conclude(question) == answer


@pytest.mark.data
def test_the_first_two_agents_say_the_nearest_names_and_how_sure_they_are(recipe, case):
    config, built, _ = case
    torch.manual_seed(0)
    model = recipe.module.make_model(config, built.schema)
    names = {name: model.names[place] for place, name in enumerate(recipe.module.NAMES)}
    assert model.say(names["seven"]).startswith("surely seven, hardly ")
    assert set(model.say(names["seven"] + names["two"]).split(", ")[:2]) == {"probably seven", "probably two"}
    assert model.say(torch.full((recipe.module.WIDTH,), torch.nan)) == "nothing"
    named, owner = built.graph["text", "of", "sample"].edge_index
    row = int(named[0])
    digit = int(built.graph["sample"].y[owner[0]])
    torch.testing.assert_close(built.graph["text"].x[row], model.names[digit])


@pytest.mark.data
def test_nothing_but_text_passes_and_silence_is_borne(recipe, case):
    config, built, graph = case
    torch.manual_seed(0)
    model = recipe.module.make_model(config, built.schema).eval()
    with torch.no_grad():
        scores = model(graph)
        found = mg.Aligner.forward(model, graph)
        deaf = model(mg.NodeClassification(built.schema).control("without:audio", graph))
    assert set(scores.unique().tolist()) == {0.0, 9.0}
    assert (scores.sum(dim=1) == 9).all()
    row = 3
    told = {"sees": model.say(found["image"][row]), "hears": model.say(found["audio"][row])}
    answer = recipe.module.conclude(model.agents.agents["answers"].prompt.format(**told))
    assert recipe.module.NAMES[int(scores[row].argmax())] == answer
    best = (found["image"] @ model.names.T).argmax(dim=1)
    assert (deaf.argmax(dim=1) == best).float().mean() > 0.5  # ties of equal words fall to the first name
