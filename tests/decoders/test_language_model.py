import json
import shutil

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertLMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from mmgraph.decoders import LanguageModel, train_language_model
from mmgraph.decoders.language_model import CLOSED
from mmgraph.errors import ArtifactError, ConfigError, DataError

TEXTS = ["a red cat", "a blue dog", "two red dogs", "a small cat"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "lm"
    return train_language_model(TEXTS, path, channels=16, depth=2, heads=2, length=12, epochs=1, vocabulary=270)


def saved(model, folder, tmp_path):
    model.save_pretrained(tmp_path / "other")
    shutil.copy(folder / "tokenizer.json", tmp_path / "other")
    return tmp_path / "other"


def llama(folder, tmp_path, **options):
    given = {"vocab_size": 300, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2} | options
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 12}
    torch.manual_seed(0)
    return saved(LlamaForCausalLM(LlamaConfig(**given, **heads, bos_token_id=5, eos_token_id=7)), folder, tmp_path)


@pytest.fixture(params=["gpt2", "llama"])
def case(request, folder, tmp_path):
    path = folder if request.param == "gpt2" else llama(folder, tmp_path)
    begin, end = (0, 0) if request.param == "gpt2" else (5, 7)
    return LanguageModel(path), AutoModelForCausalLM.from_pretrained(path).eval(), begin, end


def test_it_says_what_the_model_says(case):
    model, plain, begin, end = case
    tokens = torch.tensor([[0, 20, 30, 1], [0, 40, 1, 50]])
    numbers = torch.tensor([[begin, 18, 28, end], [begin, 38, end, 48]])
    logits, cache = model(model.embed(tokens))
    pieces = model.vocabulary - 2
    with torch.no_grad():
        expected = plain(numbers).logits[..., :pieces]
    assert logits.shape == (2, 4, pieces + 2)
    assert cache is None
    torch.testing.assert_close(logits[..., 1], expected[..., end])
    others = [piece for piece in range(pieces) if piece != end]
    torch.testing.assert_close(logits[..., [2 + piece for piece in others]], expected[..., others])
    assert (logits[..., [0, 2 + end]] == CLOSED).all()
    shares = logits.softmax(dim=-1)
    assert (shares[..., [0, 2 + end]] == 0).all()
    torch.testing.assert_close(shares[..., 1], expected.softmax(dim=-1)[..., end])


def test_cached_steps_equal_the_whole_and_leave_a_cache_as_it_was(case):
    model = case[0]
    vectors = model.embed(torch.randint(2, 250, (3, 6)))
    whole, _ = model(vectors)
    _, cache = model(vectors[:, :3], keep=True)
    for _ in range(2):  # from the same cache
        step, later = model(vectors[:, 3:4], cache=cache, keep=True)
        torch.testing.assert_close(step[:, 0], whole[:, 3])
        assert (cache.get_seq_length(), later.get_seq_length()) == (3, 4)
    step, _ = model(vectors[:, 4:], cache=later)
    torch.testing.assert_close(step, whole[:, 4:])


def test_positions_that_are_not_there_change_nothing(case):
    model = case[0]
    vectors = model.embed(torch.randint(2, 250, (2, 6)))
    seen = torch.ones(2, 6, dtype=torch.bool)
    seen[0, :2] = seen[1, 3] = False
    masked, _ = model(vectors, seen=seen)
    alone, _ = model(vectors[:1, 2:])
    torch.testing.assert_close(masked[0, 2:], alone[0])
    without, _ = model(vectors[1:, [0, 1, 2, 4, 5]])
    torch.testing.assert_close(masked[1, [0, 1, 2, 4, 5]], without[0])
    _, cache = model(vectors[:, :4], seen=seen[:, :4], keep=True)
    step, _ = model(vectors[:, 4:5], seen=seen[:, :5], cache=cache)
    torch.testing.assert_close(step[:, 0], masked[:, 4])
    nothing = torch.zeros(2, 3, dtype=torch.bool)
    _, cache = model(vectors[:, :3], seen=nothing, keep=True)
    first, _ = model(vectors[:, :1], seen=torch.cat([nothing, ~nothing[:, :1]], dim=1), cache=cache)
    torch.testing.assert_close(first, model(vectors[:, :1])[0])


def test_reorder_takes_rows_of_a_cache(case):
    model = case[0]
    vectors = model.embed(torch.randint(2, 250, (2, 4)))
    whole, _ = model(vectors)
    _, cache = model(vectors[:, :3], keep=True)
    rows = torch.tensor([1, 1, 0])
    step, _ = model(vectors[rows, 3:], cache=model.reorder(cache, rows))
    torch.testing.assert_close(step[:, 0], whole[rows, 3])
    torch.testing.assert_close(model(vectors[:, 3:], cache=cache)[0][:, 0], whole[:, 3])
    assert model.reorder(None, rows) is None


def test_frozen_it_gets_no_gradient_and_no_dropout_and_gradients_flow_through(folder):
    model = LanguageModel(folder)
    parent = torch.nn.Sequential(model).train()
    assert parent.training
    assert not any(part.training for part in model.modules())
    vectors = model.embed(torch.tensor([[0, 70]])).requires_grad_()
    model(vectors)[0].sum().backward()
    assert vectors.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in model.parameters())
    free = LanguageModel(folder, frozen=False)
    assert not free.training
    assert free.train().model.training
    free(free.embed(torch.tensor([[0, 70]])))[0].sum().backward()
    assert all(weight.grad is not None for weight in free.parameters())


def test_the_state_dict_is_whole(folder, tmp_path):
    model = LanguageModel(folder)
    other = llama(folder, tmp_path)
    again = LanguageModel(other)
    with torch.no_grad():
        for weight in again.parameters():
            weight.add_(1.0)
    again.load_state_dict(LanguageModel(other).state_dict())
    tokens = torch.tensor([[0, 9, 30]])
    first = LanguageModel(other)
    assert torch.equal(again(again.embed(tokens))[0], first(first.embed(tokens))[0])
    assert any(name.endswith("wte.weight") for name in model.state_dict())


def test_more_positions_than_it_has_are_refused(folder):
    model = LanguageModel(folder)
    with pytest.raises(DataError, match="must fit in its 12 positions, got 13"):
        model(torch.zeros(1, 13, 16))
    seen = torch.ones(1, 13, dtype=torch.bool)
    seen[:, 0] = False
    assert model(torch.zeros(1, 13, 16), seen=seen)[0].shape[1] == 13


def test_blocks_are_found_or_missed_by_name(folder, tmp_path):
    assert len(LanguageModel(folder).blocks) == 2
    assert len(LanguageModel(llama(folder, tmp_path)).blocks) == 2
    heads = {"num_attention_heads": 2, "intermediate_size": 32, "bos_token_id": 0, "eos_token_id": 0}
    config = GPTNeoXConfig(vocab_size=300, hidden_size=16, num_hidden_layers=1, **heads)
    model = LanguageModel(saved(GPTNeoXForCausalLM(config), folder, tmp_path))
    assert len(model.blocks) == 1
    model.model.gpt_neox.layers = torch.nn.Identity()
    with pytest.raises(ConfigError, match="got a GPTNeoXForCausalLM"):
        model.blocks  # noqa: B018


def test_what_is_no_folder_of_a_language_model_is_refused(folder, tmp_path):
    with pytest.raises(ConfigError, match="nowhere', which is no folder"):
        LanguageModel(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="no folder"):
        LanguageModel("gpt2")
    for name in ("config.json", "tokenizer.json"):
        lacking = tmp_path / name
        shutil.copytree(folder, lacking)
        (lacking / name).unlink()
        with pytest.raises(ConfigError, match=f"must hold {name}"):
            LanguageModel(lacking)
    bare = tmp_path / "bare"
    shutil.copytree(folder, bare)
    (bare / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match="holds none"):
        LanguageModel(bare)
    torch.save({}, bare / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"pickles alone \(pytorch_model.bin\), which are not read"):
        LanguageModel(bare)


def test_what_is_not_causal_is_refused(folder, tmp_path):
    config = BertConfig(vocab_size=300, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, eos_token_id=1)
    with pytest.raises(ConfigError, match="got a BertLMHeadModel that sees later pieces"):
        LanguageModel(saved(BertLMHeadModel(config), folder, tmp_path))
    written = tmp_path / "other" / "config.json"
    for kind in ("t5", "no_such_kind"):
        written.write_text(json.dumps(json.loads(written.read_text()) | {"model_type": kind}))
        with pytest.raises(ConfigError, match="must hold a causal language model that transformers knows"):
            LanguageModel(tmp_path / "other")


def test_damage_is_told(folder, tmp_path):
    sealed = tmp_path / "sealed"
    shutil.copytree(folder, sealed)
    file = sealed / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ArtifactError, match="model.safetensors' is damaged"):
        LanguageModel(sealed)
    (sealed / "sha256.json").unlink()
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(ArtifactError, match="weights in .*sealed' are damaged"):
        LanguageModel(sealed)
    (sealed / "tokenizer.json").write_text("{}")
    with pytest.raises(ArtifactError, match="tokenizer.json in .*must be one of tokenizers"):
        LanguageModel(sealed)


def test_weights_that_lack_and_pieces_without_a_logit_are_refused(folder, tmp_path):
    other = llama(folder, tmp_path)
    written = other / "config.json"
    config = json.loads(written.read_text())
    written.write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(ArtifactError, match=r"must be whole, 'model.layers.2.\S+ is not there"):
        LanguageModel(other)
    with pytest.raises(ConfigError, match="at most as many pieces as the model, 200, got 2"):
        LanguageModel(llama(folder, tmp_path, vocab_size=200))
    other = llama(folder, tmp_path)
    written.write_text(json.dumps(config | {"eos_token_id": None}))
    with pytest.raises(ConfigError, match="must name the piece that ends a text.*got None"):
        LanguageModel(other)
