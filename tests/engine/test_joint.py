"""Engines with a model: queries of one modality find anchors by another, with the model they were made with alone."""

import pytest
import torch
from torch import nn

from mmgraph.aligner import Aligner
from mmgraph.encoders import Raw
from mmgraph.engine import Engine
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.keys import weight_key
from mmgraph.schema import view


@pytest.fixture(scope="module")
def aligner(films):
    return make_aligner(films, 0)


def make_aligner(built, seed, **options):
    torch.manual_seed(seed)
    spaces = {"joint": {"plot": nn.Linear(12, 8), "poster": nn.Linear(580, 8)}}
    return Aligner(schema=built.schema, encoder=Raw(["plot", "poster"]), spaces=spaces, **options)


@torch.no_grad()
def test_scores_are_those_of_a_loop_over_all_views(films, aligner, png):
    vectors = {name: states.double() for name, states in aligner(view(films.graph, films.schema)).items()}
    centres = {name: states[~states.isnan().any(dim=1)].mean(dim=0) for name, states in vectors.items()}
    texts = films.encoder("plot")(["a dog in the rain"])
    poster = films.encoder("poster")([png(90)])
    asked = {
        "plot": aligner.projections[weight_key("joint")][weight_key("plot")](texts)[0].double(),
        "poster": aligner.projections[weight_key("joint")][weight_key("poster")](poster)[0].double(),
    }
    for query in ({"plot": "a dog in the rain"}, {"plot": "a dog in the rain", "image": png(90)}):
        names = ["plot", "poster"][: len(query)]
        expected = {}
        for row, id in enumerate(films.ids):
            total = 0.0
            for name in names:
                less = nn.functional.normalize(asked[name], dim=0) - centres[name]
                likes = [
                    float(nn.functional.cosine_similarity(states[row] - centres[other], less, dim=0))
                    for other, states in vectors.items()
                    if not states[row].isnan().any()
                ]
                total += max(likes) / len(names) if likes else 0
            expected[id] = total
        hits = Engine(films, model=aligner).search(query, k=9)
        assert {hit.id: hit.score for hit in hits} == pytest.approx(expected, abs=1e-5)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        for hit in hits:
            assert sum(reason.contribution for reason in hit.reasons) == pytest.approx(hit.score, abs=1e-12)


def test_a_text_finds_pictures(films, aligner):
    hits = Engine(films, model=aligner).search({"text": "a dog in the rain"}, where={"node": "poster"})
    assert {reason.node for hit in hits for reason in hit.reasons} == {"poster"}
    assert {reason.query for hit in hits for reason in hit.reasons} == {"plot"}
    assert len(hits) == 5  # the moon has no poster
    nodes = Engine(films, model=aligner).search({"text": "a dog in the rain"}, level="node", k=99)
    assert {hit.node for hit in nodes} == {"plot", "poster"}
    around = Engine(films, model=aligner).search({"text": "a dog"}, level="subgraph", hops=2, text_weight=0.4)
    assert any(reason.walk for hit in around for reason in hit.reasons) or len(around) == 6
    rain = next(hit for hit in nodes if hit.node == "plot" and hit.id == "rain")
    assert [one.row for one in rain.reasons[0].matched] == [0, 1]  # both plots, as one view


def test_a_view_of_two_modalities_is_one_reason(films, png):
    model = make_aligner(films, 0, views={"both": ("plot", "poster"), "plot": ("plot",)})
    hit = Engine(films, model=model).search({"plot": "a dog", "poster": png(10)}, where={"node": "both"}, k=1)[0]
    assert {reason.node for reason in hit.reasons} <= {"plot+poster", "plot", "poster"}
    assert {reason.query for reason in hit.reasons} == {"both", "plot"}


def test_the_folder_knows_its_model(films, aligner, tmp_path):
    folder, query = tmp_path / "films", {"text": "a dog in the rain"}
    made = Engine.build(films, folder, model=aligner, kind="hnsw", text_weight=0.2)
    wanted = [(hit.id, hit.score) for hit in made.search(query)]
    assert made.describe()["model"] == made.state.model != ""
    assert list(made.describe()["modalities"]) == ["plot", "poster"]
    opened = Engine.open(folder, model=aligner)
    assert [(hit.id, hit.score) for hit in opened.search(query)] == wanted
    with pytest.raises(
        ArtifactError, match="was made with the model '.*', which is not kept with it; give it as model="
    ):
        Engine.open(folder)
    with pytest.raises(ArtifactError, match="must be opened with the model that it was made with, .*, got"):
        Engine.open(folder, model=make_aligner(films, 1))
    Engine.build(films, tmp_path / "plain")
    with pytest.raises(ArtifactError, match="with the model that it was made with, 'none', got"):
        Engine.open(tmp_path / "plain", model=aligner)
    opened.add({"new": {"plot": "a dog in the rain"}})
    assert made.refresh()
    assert made.search(query, k=2, text_weight=0)[0].score == pytest.approx(1.0)
    made.compact()
    assert [hit.id for hit in made.search(query)] == [
        hit.id for hit in Engine.open(folder, model=aligner).search(query)
    ]
    (folder / "search" / made.state.index / "views.safetensors").write_bytes(b"no")
    with pytest.raises(ArtifactError, match="damaged"):
        Engine.open(folder, model=aligner)


def test_models_that_can_not_be_are_refused(films, aligner, make, tables):
    with pytest.raises(ConfigError, match="must be an Aligner, got a Linear"):
        Engine(films, model=nn.Linear(1, 1))
    other = make({**tables, "plot": [["A dog."]] * 6})
    with pytest.raises(ArtifactError, match="The model must be of the graph's schema .*, got one of"):
        Engine(other, model=aligner)


def test_what_no_view_sees_can_not_be_asked(films, aligner):
    with pytest.raises(ConfigError, match=r"one of \['plot', 'poster'\].*got 'smell'"):
        Engine(films, model=aligner).search({"smell": "a"})
    with pytest.raises(ConfigError, match="'table' can't be searched by"):
        Engine(films, model=aligner).search({"table": {"year": 1990}})
    model = make_aligner(films, 0, views={"both": ("plot", "poster")})
    assert Engine(films, model=model).search({"plot": "a dog"}, k=1)[0].reasons[0].query == "both"
    with pytest.raises(DataError, match="must have a payload that a view"):
        Engine(films, model=model).now.joint.query_nodes(films, {}, Engine(films, model=model).now.fields, {})
