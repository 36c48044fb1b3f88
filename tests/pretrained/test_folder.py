import json
import shutil
from importlib import metadata

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch_geometric.data import HeteroData

from mmgraph import decoders, encoders, fusion, layers
from mmgraph.aligner import Aligner
from mmgraph.decoders import LanguageModel, Prefix, train_language_model
from mmgraph.entity_aligner import EntityAligner
from mmgraph.errors import ArtifactError, ConfigError, SchemaError
from mmgraph.files import seal
from mmgraph.linker import Linker
from mmgraph.model import Model, classifier
from mmgraph.pretrained import Card, from_pretrained, register, save_pretrained
from mmgraph.pretrained.layout import FILES, check_folder, copy_folder
from mmgraph.questions import Follower, ask
from mmgraph.schema import EdgeSpec, NodeSpec, Schema
from mmgraph.scorers import ComplEx
from mmgraph.testing import fake_graph, fake_knowledge
from mmgraph.translator import Translator

WIDTHS = {"scan": 3, "text": 5}


@pytest.fixture
def graph():
    return fake_graph()[0]


@pytest.fixture
def schema():
    return fake_graph()[1]


@pytest.fixture
def model(schema):
    torch.manual_seed(0)
    return classifier(schema).eval()


@pytest.fixture
def folder(model, tmp_path):
    return save_pretrained(model, tmp_path / "model")


def change(folder, **changes):
    """Changes config.json, and seals it again."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    reseal(folder)


def reseal(folder):
    card = (folder / "README.md").read_text()
    for name in ("README.md", "sha256.json"):
        (folder / name).unlink()
    seal(folder)
    (folder / "README.md").write_text(card)


def test_the_folder_holds_five_files_and_no_pickle(folder):
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    config = json.loads((folder / "config.json").read_text())
    assert config["format"] == "mmgraph.model/1"
    assert config["versions"]["mmgraph"] == metadata.version("mmgraph")
    assert config["blueprint"]["class"] == "mmgraph.model.Model"
    assert Schema.from_json((folder / "schema.json").read_text()) == fake_graph()[1]


def test_a_loaded_model_answers_to_the_bit(folder, model, graph):
    loaded = from_pretrained(folder)
    assert type(loaded) is Model
    assert not loaded.training
    assert torch.equal(loaded(graph), model(graph))
    assert torch.equal(from_pretrained(str(folder), schema=model.schema)(graph), model(graph))


def test_aligners_linkers_and_translators_are_saved(graph, schema, tmp_path):
    spaces = {"joint": {name: nn.Linear(width, 4) for name, width in WIDTHS.items()}}
    aligner = Aligner(schema=schema, encoder=encoders.Raw(list(WIDTHS)), spaces=spaces).eval()
    loaded = from_pretrained(save_pretrained(aligner, tmp_path / "aligner"))
    assert torch.equal(loaded.embed(graph), aligner.embed(graph))
    decoder = decoders.TransformerDecoder(8, vocabulary=9, length=4)
    made = Translator(schema=schema, target="text", encoder=encoders.Table({"scan": 3}, 8), decoder=decoder).eval()
    loaded = from_pretrained(save_pretrained(made, tmp_path / "translator"))
    assert torch.equal(loaded.generate(graph), made.generate(graph))
    facts, meant = fake_knowledge()
    linker = Linker(schema=meant, scorer=ComplEx(4)).eval()
    loaded = from_pretrained(save_pretrained(linker, tmp_path / "linker"))
    assert torch.equal(loaded(facts)[:], linker(facts)[:])


def test_entity_aligners_and_followers_are_saved(tmp_path):
    graph, nodes, edges = HeteroData(), {"pair": NodeSpec()}, {}
    graph["pair"].update({"num_nodes": 3, "train_mask": torch.tensor([True, False, False])})
    for side in ("zh", "en"):
        graph[side].num_nodes = 3
        graph[side, "fact", side].edge_index = torch.tensor([[0, 1], [1, 2]])
        graph[side, "fact", side].edge_attr = torch.zeros(2, 1)
        graph[side, "of", "pair"].edge_index = torch.arange(3).expand(2, -1)
        nodes[side] = NodeSpec()
        edges[side, "fact", side] = EdgeSpec(channels=1, multiple=True)
        edges[side, "of", "pair"] = EdgeSpec()
    schema = Schema(nodes=nodes, edges=edges, anchor="pair")
    counts = {"entities": {"zh": 3, "en": 3}, "relations": {"zh": 1, "en": 1}}
    aligner = EntityAligner(schema=schema, joins={2, 5}, **counts)
    aligner(graph)  # a step of training, that is counted in a buffer
    loaded = from_pretrained(save_pretrained(aligner.eval(), tmp_path / "aligner"))
    assert loaded.joins == {2, 5}
    assert int(loaded.steps) == 1
    for side, vectors in aligner(graph).items():
        assert torch.equal(loaded(graph)[side], vectors)

    asked = HeteroData()
    asked["question"].x, asked["entity"].num_nodes = torch.ones(1, 2), 3
    asked["entity", "child", "entity"].edge_index = torch.tensor([[0, 1], [1, 2]])
    meant = Schema.infer(asked, anchor="question")
    asked, meant = ask(asked, meant, about=[[0]], answers=[[2]], names=["ann", "bob", "cid"])
    reader = Model(schema=meant, encoder=encoders.Raw(["question"]), head=nn.Identity())
    follower = Follower(reader, 2, hops=2).eval()
    assert torch.equal(from_pretrained(save_pretrained(follower, tmp_path / "follower"))(asked), follower(asked))


def test_a_language_model_inside_needs_its_folder_no_more(graph, schema, tmp_path):
    sizes = {"channels": 16, "depth": 1, "heads": 2, "length": 16, "vocabulary": 265}
    source = train_language_model(["a red cat", "a blue dog"], tmp_path / "lm", epochs=1, **sizes)
    decoder = Prefix(6, LanguageModel(source), length=4, prefix=2)
    made = Translator(schema=schema, target="text", encoder=encoders.Table({"scan": 3}, 6), decoder=decoder).eval()
    folder = save_pretrained(made, tmp_path / "model")
    shared = json.loads((folder / "config.json").read_text())["shared"]
    assert shared == {"decoder.model.model.lm_head.weight": "decoder.model.model.transformer.wte.weight"}
    assert not shared.keys() & load_file(folder / "model.safetensors").keys()  # written once
    shutil.rmtree(source)
    loaded = from_pretrained(folder)
    assert torch.equal(loaded.generate(graph), made.generate(graph))
    assert not any(weight.requires_grad for weight in loaded.decoder.model.parameters())
    wte, head = loaded.decoder.model.model.transformer.wte, loaded.decoder.model.model.lm_head
    assert wte.weight is head.weight


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_dtype_is_kept(model, tmp_path, dtype):
    loaded = from_pretrained(save_pretrained(model.to(dtype), tmp_path / "model"))
    for one, other in zip(model.parameters(), loaded.parameters(), strict=True):
        assert other.dtype == dtype
        assert torch.equal(one, other)


def test_modules_and_weights_that_stand_twice_stay_one(schema, graph, tmp_path):
    table = encoders.Table(WIDTHS, 4)
    layer = layers.Mean(4, 4, relations=[("subject", "near", "subject")])
    between = layers.Stack(layer, layer)
    model = Model(schema=schema, encoder=table, fusion=fusion.Sum(), between=between, head=nn.Linear(4, 2)).eval()
    folder = save_pretrained(model, tmp_path / "model")
    loaded = from_pretrained(folder)
    assert loaded.between.layers[0] is loaded.between.layers[1]
    assert torch.equal(loaded(graph), model(graph))


def test_no_random_number_is_taken(model, folder, tmp_path):
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    save_pretrained(model, tmp_path / "other")
    from_pretrained(folder)
    assert torch.equal(torch.rand(3), wanted)


def test_a_model_with_another_head_is_saved_with_it(model, graph, tmp_path):
    model.head = nn.Sequential(nn.Linear(16, 7), nn.Softmax(1))
    loaded = from_pretrained(save_pretrained(model, tmp_path / "model"))
    assert torch.equal(loaded(graph), model(graph))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda m: setattr(m.between.layers[0], "activation", torch.tanh), "activation of between.layers.0 is"),
        (lambda m: setattr(m, "anchor", "scan"), "anchor of itself is 'scan' and 'subject'"),
        (lambda m: m.between.layers.append(layers.Stack()), "is in one of them alone"),
        (lambda m: m.encoder.register_buffer("more", torch.ones(1)), "more of encoder is .* and none"),
        (lambda m: m.head.register_forward_hook(lambda *given: None), "head has 1 and 0 hooks"),
        (lambda m: nn.utils.parametrizations.weight_norm(m.head), "ParametrizedLinear"),
    ],
)
def test_a_model_that_was_changed_by_hand_is_refused(model, tmp_path, change, told):
    change(model)
    with pytest.raises(ConfigError, match=told):
        save_pretrained(model, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_what_has_no_schema_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="must have the schema of its graphs, .* got a Linear without"):
        save_pretrained(nn.Linear(1, 1), tmp_path / "model")


def test_classes_of_the_users_are_saved_and_loaded_once_they_are_registered(schema, graph, tmp_path):
    class Twice(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def forward(self, x):
            return self.factor * x

    def made():
        return Model(schema=schema, encoder=encoders.Raw(["scan"]), fusion=fusion.Sum(), head=Twice(2.0)).eval()

    with pytest.raises(ConfigError, match=r"Model.head must be of a class of mmgraph, .* register it before"):
        save_pretrained(made(), tmp_path / "model")
    register(Twice, name="acme.Twice")
    model = made()
    folder = save_pretrained(model, tmp_path / "model")
    assert torch.equal(from_pretrained(folder)(graph), model(graph))
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace("acme.Twice", "other.Thrice"))
    reseal(folder)
    with pytest.raises(ArtifactError, match=r"can't be loaded: .* got 'other.Thrice'; if it is yours, import it"):
        from_pretrained(folder)


def test_saving_again_replaces_a_model_and_nothing_else(model, folder, schema):
    other = classifier(schema, channels=4).eval()
    save_pretrained(other, folder)
    assert from_pretrained(folder).head.in_features == 4
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="must be new, empty or a model's, it holds 'notes.txt'; name another"):
        save_pretrained(model, folder)
    assert (folder / "notes.txt").read_text() == "mine"
    (file := folder.parent / "file").write_text("")
    with pytest.raises(ConfigError, match="folder must be one, got the file"):
        save_pretrained(model, file)


def test_an_interrupted_save_leaves_the_old_model(model, folder, monkeypatch, schema):
    def fail(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr("mmgraph.pretrained.folder.seal", fail)
    with pytest.raises(KeyboardInterrupt):
        save_pretrained(classifier(schema, channels=4), folder)
    monkeypatch.undo()
    assert from_pretrained(folder).head.in_features == 16
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "schema.json", "sha256.json"])
def test_a_half_written_folder_is_refused(folder, name):
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=f"must hold .*, {name} is missing: it is half-written or no model"):
        from_pretrained(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "schema.json"])
def test_a_damaged_file_is_refused(folder, name):
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ArtifactError, match=f"{name}' is damaged: sha256 must be .{{12}}…, got .{{12}}…; save"):
        from_pretrained(folder)


def test_no_folder_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="does not exist; one on the hub is named hub:owner/name"):
        from_pretrained(tmp_path / "nothing")


def test_a_revision_of_a_folder_is_refused(folder):
    with pytest.raises(ConfigError, match="revision is of a model on the hub, .* got 'main'"):
        from_pretrained(folder, revision="main")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"format": "mmgraph.model/9"}, "must be of format 'mmgraph.model/1', got 'mmgraph.model/9'"),
        ({"blueprint": None}, "a blueprint must be of a module, got a NoneType"),
        ({"blueprint": {"class": "os.system", "arguments": {}}}, "got 'os.system'"),
        ({"shared": {"a": "nothing"}}, "must say which weights are shared, got {'a': 'nothing'}"),
        ({"shared": 3}, "must say which weights are shared, got 3"),
    ],
)
def test_another_config_is_refused(folder, changes, told):
    change(folder, **changes)
    with pytest.raises(ArtifactError, match=told):
        from_pretrained(folder)


def test_a_model_of_another_version_is_told(folder):
    tree = json.loads((folder / "config.json").read_text())["blueprint"]
    tree["arguments"]["nonsense"] = 1
    change(folder, blueprint=tree, versions={"mmgraph": "9.9"})
    with pytest.raises(ArtifactError, match=r"unexpected keyword argument 'nonsense'; .*\(it was saved by mmgraph 9.9"):
        from_pretrained(folder)


def test_configs_that_are_no_object_are_refused(folder):
    (folder / "config.json").write_text("[1]")
    reseal(folder)
    with pytest.raises(ArtifactError, match=r"must be of format 'mmgraph.model/1', got \[1\]"):
        from_pretrained(folder)
    (folder / "sha256.json").write_text('{"config.json": 3}')
    with pytest.raises(ArtifactError, match="must hold the digests of"):
        check_folder(folder)


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ({"head.weight": torch.ones(1)}, r"'head.weight' is \[2, 16\] in the model and \[1\] in the file"),
        ({"more": torch.ones(1)}, r"'more' is missing in the model and \[1\] in the file"),
        ({"head.bias": None}, r"'head.bias' is \[2\] in the model and missing in the file"),
    ],
)
def test_weights_of_another_model_are_refused(folder, weights, told):
    state = {**load_file(folder / "model.safetensors"), **weights}
    save_file({name: one for name, one in state.items() if one is not None}, folder / "model.safetensors")
    reseal(folder)
    with pytest.raises(ArtifactError, match=told):
        from_pretrained(folder)


def test_weights_that_are_no_tensors_are_refused(folder):
    (folder / "model.safetensors").write_bytes(b"nonsense")
    reseal(folder)
    with pytest.raises(ArtifactError, match="model.safetensors must hold tensors: "):
        from_pretrained(folder)


def test_a_schema_that_is_not_the_models_is_refused(folder, schema):
    wider = {**schema.nodes, "scan": NodeSpec(modality=schema.nodes["scan"].modality, channels=4)}
    other = schema.model_copy(update={"nodes": wider})
    with pytest.raises(SchemaError, match=r"but nodes.scan.channels is 3 and 4 \(the model's, the data's\)"):
        from_pretrained(folder, schema=other)
    (folder / "schema.json").write_text(other.to_json())
    reseal(folder)
    with pytest.raises(SchemaError, match=r"The card .* must say what schema.json says, '.* 4 .*', got '.* 3 .*'"):
        from_pretrained(folder)
    (folder / "README.md").unlink()
    with pytest.raises(SchemaError, match=r"config.json and schema.json in .* but nodes.scan.channels is 3 and 4"):
        from_pretrained(folder)


def test_a_card_may_be_written_on_but_not_contradict_the_schema(folder, model, graph):
    text = (folder / "README.md").read_text()
    (folder / "README.md").write_text(f"{text}\n\nMore words.\n")
    assert torch.equal(from_pretrained(folder)(graph), model(graph))
    (folder / "README.md").write_text("My own card.")
    from_pretrained(folder)
    (folder / "README.md").write_text(text.replace("| text |", "| words |"))
    with pytest.raises(SchemaError, match=r"must say what schema.json says, '\| text .*', got '\| words"):
        from_pretrained(folder)


def test_a_model_is_copied_whole(folder, tmp_path, model, graph):
    assert torch.equal(from_pretrained(copy_folder(folder, tmp_path / "copy"))(graph), model(graph))
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(ArtifactError, match="damaged"):
        copy_folder(folder, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_state_that_is_no_tensor_is_refused(model, tmp_path, monkeypatch):
    monkeypatch.setattr(type(model.head), "get_extra_state", lambda self: {"a": 1}, raising=False)
    with pytest.raises(ConfigError, match="All of a state dict must be tensors to be saved, '.*_extra_state' is none"):
        save_pretrained(model, tmp_path / "model")


def test_the_card_is_beside_the_model(model, tmp_path):
    folder = save_pretrained(model, tmp_path / "model", card=Card(title="Mine", metrics={"accuracy": 0.5}))
    text = (folder / "README.md").read_text()
    assert "# Mine" in text
    assert "| accuracy | 0.5 |" in text
