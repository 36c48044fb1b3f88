"""Gradients against a slow loop, vision models against encode, the network against its promises."""

import json
import math
from io import BytesIO

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from torch import nn
from torch_geometric.data import HeteroData

from mmgraph.data.manifest import data_roots
from mmgraph.encoders import FeatureCache, Gradients, ImageConv, Pictures, Pixels, Sentences
from mmgraph.encoders.image import fit, oriented_gradients, picture_bytes
from mmgraph.errors import ConfigError, DataError
from mmgraph.testing import check_frozen

RNG = np.random.default_rng(0)
PHOTOS = [RNG.integers(0, 256, (20 + 5 * number, 30, 3), dtype=np.uint8) for number in range(5)]


def png(array):
    file = BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def slow_gradients(picture, cell, bins):
    """``[blocks, blocks, 4 * bins]`` of a picture ``[colours, size, size]``, one pixel at a time."""
    colours, size, _ = picture.shape
    roots, cells = np.sqrt(picture), size // cell
    histogram = np.zeros((cells, cells, bins))
    for y in range(size):
        for x in range(size):
            slopes = [
                (
                    roots[c, y, min(x + 1, size - 1)] - roots[c, y, max(x - 1, 0)],
                    roots[c, min(y + 1, size - 1), x] - roots[c, max(y - 1, 0), x],
                )
                for c in range(colours)
            ]
            across, down = max(slopes, key=lambda slope: math.hypot(*slope))
            place = math.degrees(math.atan2(down, across)) % 180 / (180 / bins) - 0.5
            for row in range(cells):
                for column in range(cells):
                    near = max(0, 1 - abs(y - (row * cell + (cell - 1) / 2)) / cell)
                    near *= max(0, 1 - abs(x - (column * cell + (cell - 1) / 2)) / cell)
                    for k in range(bins):
                        distance = min(abs(place - k), bins - abs(place - k))
                        histogram[row, column, k] += near * max(0, 1 - distance) * math.hypot(across, down)
    blocks = np.zeros((cells - 1, cells - 1, 4 * bins))
    for row in range(cells - 1):
        for column in range(cells - 1):
            block = histogram[row : row + 2, column : column + 2].reshape(-1)
            block = np.minimum(block / math.sqrt(block @ block + 0.01), 0.2)
            blocks[row, column] = block / math.sqrt(block @ block + 0.01)
    return blocks


@pytest.mark.parametrize(("cell", "bins", "size", "colours"), [(4, 9, 12, 3), (3, 4, 9, 1), (6, 5, 12, 2)])
def test_gradients_equal_a_slow_loop(cell, bins, size, colours):
    pictures = np.random.default_rng(size).random((3, colours, size, size))
    pictures[1] = pictures[1].round()  # black and white
    pictures[2, :, :, size // 2 :] = pictures[2, :, :1, :1]  # half of it flat
    found = oriented_gradients(torch.from_numpy(pictures), cell=cell, bins=bins)
    expected = np.stack([slow_gradients(picture, cell, bins) for picture in pictures])
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-9)


def test_gradients_do_not_see_brightness_or_the_side_of_an_edge():
    edge = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    edge[..., 8:] = 1
    bright = edge * 0.6 + 0.4
    found, inverted, weaker = (oriented_gradients(one, cell=8)[0, 0, 0] for one in (edge, 1 - edge, bright))
    torch.testing.assert_close(inverted, found, atol=1e-6, rtol=0)
    assert torch.cosine_similarity(weaker, found, dim=0) > 0.999
    assert found.norm() <= 1
    assert torch.equal(oriented_gradients(edge * 0, cell=8), torch.zeros(1, 1, 1, 36).double())


@given(arrays(np.float64, (2, 3, 8, 8), elements=st.floats(0, 1)))
@settings(max_examples=30)
def test_each_row_is_of_its_own_picture_and_bounded(pictures):
    both = oriented_gradients(torch.from_numpy(pictures), cell=4)
    alone = oriented_gradients(torch.from_numpy(pictures[1:]), cell=4)
    assert torch.equal(both[1:], alone)
    assert both.isfinite().all()
    assert both.norm(dim=-1).max() <= 1


@pytest.mark.parametrize("shape", [(40, 10), (10, 40), (7, 7), (500, 1), (1, 1), (8, 8)])
def test_a_picture_is_fitted_into_the_middle_of_a_square(shape):
    height, width = shape
    picture = Image.new("RGB", (width, height), (10, 200, 30))
    found = fit(picture, 8)
    assert found.size == (8, 8)
    assert set(found.get_flattened_data()) == {(10, 200, 30)}  # the ground is that of the border
    marked = Image.new("L", (width, height), 0)
    marked.paste(250, (0, 0, width, max(1, height // 2)))
    assert fit(marked, 8).size == (8, 8)
    if (height, width) == (40, 10):
        assert np.asarray(fit(marked, 8))[:3, 3:5].min() == 250
        assert np.asarray(fit(marked, 8))[5:, 3:5].max() == 0


def test_the_ground_is_the_usual_colour_of_the_border():
    wide = np.full((8, 32), 90, dtype=np.uint8)
    wide[2:6, 4:28] = 255
    wide[0, 0] = 0
    found = np.asarray(fit(Image.fromarray(wide), 32))
    assert found[0].tolist() == [90] * 32
    assert found.max() == 255


def test_rows_have_three_parts_of_bounded_length():
    found = Gradients()(PHOTOS)
    assert found.shape == (5, 324 + 192 + 64)
    shapes, thumbnail, colours = found.split([324, 192, 64], dim=1)
    assert (shapes.norm(dim=1) <= 1).all()
    assert (thumbnail.norm(dim=1) <= 1).all()
    torch.testing.assert_close(colours.norm(dim=1), torch.ones(5))
    assert Gradients(thumbnail=0, levels=0).shape == (324,)
    assert torch.equal(Gradients(thumbnail=0, levels=0)(PHOTOS), shapes)


def test_thumbnail_and_colours_by_hand():
    array = np.zeros((4, 4, 3), dtype=np.uint8)
    array[:2] = (255, 0, 0)
    array[2:, 2:] = (0, 128, 255)
    row = Gradients(4, cell=2, bins=1, thumbnail=2, levels=2)([array])[0, 4:]
    thumbnail, colours = row.split([12, 8])
    red, green, blue = (thumbnail * math.sqrt(12)).view(3, 2, 2)
    torch.testing.assert_close(red, torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))
    torch.testing.assert_close(green, torch.tensor([[-1.0, -1.0], [-1.0, 2 * 128 / 255 - 1]]))
    torch.testing.assert_close(blue, torch.tensor([[-1.0, -1.0], [-1.0, 1.0]]))
    expected = torch.zeros(8)
    expected[0b100], expected[0b000], expected[0b011] = 8 / 16, 4 / 16, 4 / 16  # red, black, blue-green
    torch.testing.assert_close(colours.square(), expected)


def test_the_same_picture_is_the_same_row_whatever_it_comes_as(tmp_path):
    array = PHOTOS[0]
    (tmp_path / "picture.png").write_bytes(png(array))
    payloads = [array, png(array), tmp_path / "picture.png", Image.fromarray(array), np.ascontiguousarray(array)]
    for encoder in (Gradients(), Pixels(), Pixels(colours=1)):
        found = encoder(payloads)
        assert all(torch.equal(row, found[0]) for row in found)
    assert picture_bytes(array) == picture_bytes(Image.fromarray(array))
    assert picture_bytes(png(array)) == picture_bytes(tmp_path / "picture.png")
    flat = np.zeros((2, 8), dtype=np.uint8)
    assert picture_bytes(flat) != picture_bytes(flat.T)


def test_bad_pictures_are_set_aside_by_their_place(tmp_path):
    found = Gradients().attempt([PHOTOS[0], b"", png(PHOTOS[1])[:50], None, tmp_path / "gone", PHOTOS[1]])
    assert found.rows.tolist() == [0, 5]
    assert torch.equal(found.features, Gradients()([PHOTOS[0], PHOTOS[1]]))
    assert "got 0 bytes" in found.rejected[1]
    assert "got a png file" in found.rejected[2]
    assert "got NoneType" in found.rejected[3]
    assert "must be there" in found.rejected[4]


def test_rows_come_from_the_cache(tmp_path):
    cache = FeatureCache(tmp_path)
    for encoder in (Gradients(), Pixels(9)):
        first = encoder.attempt([png(photo) for photo in PHOTOS], cache=cache)
        again = encoder.attempt([png(photo) for photo in PHOTOS], cache=cache)
        assert (first.made, again.made, again.cached) == (5, 0, 5)
        assert torch.equal(first.features, again.features)
        assert again.features.dtype == encoder.dtype


def test_identities_tell_options_apart_and_make_the_encoder_again():
    encoders = [Gradients(), Gradients(16), Gradients(cell=4), Gradients(bins=6), Gradients(thumbnail=4)]
    encoders += [Gradients(levels=3), Pixels(), Pixels(16), Pixels(colours=1)]
    assert len({one.identity.digest for one in encoders}) == len(encoders)
    for one in encoders:
        again = type(one).restore(one.identity.options, one.state())
        assert again.identity == one.identity
        assert torch.equal(again(PHOTOS), one(PHOTOS))


@pytest.mark.parametrize(
    ("make", "value"),
    [
        (lambda: Gradients(30), "multiple of cell, at least 2 cells, got 30 of 8, 9 bins"),
        (lambda: Gradients(8), "got 8 of 8"),
        (lambda: Gradients(bins=0), "0 bins"),
        (lambda: Gradients(thumbnail=5), "thumbnail must divide size 32, .* got 5 and 4"),
        (lambda: Gradients(levels=-1), "got 8 and -1"),
        (lambda: Pixels(0), "at least 1 and colours 1 or 3, got 0 and 3"),
        (lambda: Pixels(colours=2), "got 32 and 2"),
        (lambda: Pictures("somewhere", precision="int8"), "precision must be one of .*got 'int8'"),
        (lambda: ImageConv({}, 4), "needs node types"),
        (lambda: ImageConv({"a": 0}, 4), "got {'a': 0}, 4"),
        (lambda: ImageConv({"a": 1}, 0), "got {'a': 1}, 0"),
        (lambda: ImageConv({"a": 1}, 4, widths=()), r"4 and \[\]"),
        (lambda: ImageConv({"a": 1}, 4, widths=(8, 1)), r"widths of at least 2, .*\[8, 1\]"),
        (lambda: ImageConv({"a": 1}, 4, dropout=1.0), "below 1 and shift at least 0, got 1.0 and 0"),
        (lambda: ImageConv({"a": 1}, 4, shift=-1), "got 0.0 and -1"),
    ],
)
def test_bad_options_are_refused_by_value(make, value):
    with pytest.raises(ConfigError, match=value):
        make()


def test_pixels_are_the_picture_itself():
    square = RNG.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    found = Pixels(6)([square])
    assert found.dtype == torch.uint8
    assert torch.equal(found[0], torch.from_numpy(square).permute(2, 0, 1))
    grey = Pixels(6, colours=1)([square])
    assert grey.shape == (1, 1, 6, 6)
    assert np.abs(grey[0, 0].numpy() - square @ [0.299, 0.587, 0.114]).max() <= 1
    assert Pixels(6)([]).shape == (0, 3, 6, 6)
    assert (Pixels.attribute, Gradients.attribute) == ("pixels", "x")


SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizer

    folder = tmp_path_factory.mktemp("models") / "clip"
    folder.mkdir()
    letters = [chr(number) for number in range(ord("a"), ord("z") + 1)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    text = {"vocab_size": len(words), "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 1}
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={**SMALL, **text, "pad_token_id": 1},
        vision_config={**SMALL, "image_size": 32, "patch_size": 8},
        projection_dim=24,
    )
    CLIPModel(config).save_pretrained(folder)
    pixels = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)
    CLIPProcessor(pixels, tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    from transformers import ViTConfig, ViTImageProcessorPil, ViTModel

    folder = tmp_path_factory.mktemp("models") / "vit"
    torch.manual_seed(0)
    ViTModel(ViTConfig(**SMALL, image_size=32, patch_size=8)).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("model", "channels"), [("clip", 24), ("vit", 16)])
def test_vision_models_give_what_encode_gives(model, channels, request, monkeypatch):
    from sentence_transformers import SentenceTransformer

    folder = request.getfixturevalue(model)
    encoder = Pictures(folder, device="cpu")
    reference = SentenceTransformer(str(folder), device="cpu").eval()
    expected = reference.encode([Image.fromarray(photo) for photo in PHOTOS], convert_to_tensor=True, batch_size=1)
    assert encoder.shape == (channels,)
    for chunk in (32, 2):
        monkeypatch.setattr(Pictures, "chunk", chunk)
        found = encoder([PHOTOS[0], *(png(photo) for photo in PHOTOS[1:]), Image.fromarray(PHOTOS[0])])
        torch.testing.assert_close(found[:5], expected, atol=1e-5, rtol=0)
        assert torch.equal(found[5], found[0])
    assert not torch.allclose(found[0], found[1], atol=1e-3)
    low = Pictures(folder, precision="bfloat16", device="cpu")(PHOTOS)
    assert low.dtype == torch.float32
    assert torch.cosine_similarity(low, expected).min() > 0.99
    assert not torch.allclose(low, expected, atol=1e-6)


def test_pictures_keep_the_promises_of_frozen_encoders(clip):
    options = {"model": str(clip), "device": "cpu"}
    check_frozen(Pictures(**options), PHOTOS[:3], [None, b"", "owl.png"], options=options)


def test_the_identity_is_the_model_and_the_precision(clip, vit):
    one = Pictures(clip, device="cpu").identity
    assert (one.name, one.options) == ("clip", {"precision": "float32"})
    others = [Pictures(vit, device="cpu"), Pictures(clip, precision="bfloat16", device="cpu")]
    assert len({one.digest, *(other.identity.digest for other in others)}) == 3
    assert one.revision == others[1].identity.revision != others[0].identity.revision


def test_texts_and_pictures_of_one_model_have_one_width(clip, vit):
    assert Sentences(clip, device="cpu")(["owl"]).shape[1] == Pictures(clip, device="cpu").channels
    with pytest.raises(ConfigError, match="must know text, got .*vit'"):
        Sentences(vit, device="cpu")


def test_damaged_pictures_do_not_reach_the_model(vit):
    found = Pictures(vit, device="cpu").attempt([PHOTOS[0], png(PHOTOS[0])[:80], "owl.png"])
    assert found.rows.tolist() == [0]
    assert sorted(found.rejected) == [1, 2]
    assert "got str" in found.rejected[2]


def photos(rows=4, colours=3, size=12, seed=0):
    graph = HeteroData()
    generator = torch.Generator().manual_seed(seed)
    shape = (rows, colours, size, size)
    graph["photo"].pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    graph["map.v2"].pixels = torch.randint(0, 256, (3, 1, 5, 7), generator=generator, dtype=torch.uint8)
    return graph


def test_a_row_depends_on_its_own_picture_alone():
    torch.manual_seed(0)
    for training in (False, True):
        network = ImageConv({"photo": 3, "map.v2": 1}, 6, widths=(8, 12)).train(training)
        graph, other = photos(), photos()
        before = network(graph)
        assert {node: list(rows.shape) for node, rows in before.items()} == {"photo": [4, 6], "map.v2": [3, 6]}
        other["photo"].pixels[1] = 255 - other["photo"].pixels[1]
        after = network(other)
        assert torch.equal(after["map.v2"], before["map.v2"])
        torch.testing.assert_close(after["photo"][[0, 2, 3]], before["photo"][[0, 2, 3]], atol=1e-6, rtol=0)
        assert not torch.allclose(after["photo"][1], before["photo"][1], atol=1e-3)


def test_the_network_is_what_it_says():
    torch.manual_seed(0)
    network = ImageConv({"photo": 3}, 6, widths=(8, 12)).eval()
    graph = photos(size=7)
    conv, norm, _, _, conv2, norm2, *_, linear = network.networks["[photo]"]
    states = graph["photo"].pixels.float() / 127.5 - 1
    for weights, groups in ((conv, norm), (conv2, norm2)):
        states = nn.functional.conv2d(states, weights.weight, padding=1)
        grouped = states.reshape(len(states), groups.num_groups, -1)
        assert grouped.shape[2] > states.shape[2] * states.shape[3]  # a group has two channels at least
        mean, variance = grouped.mean(dim=2, keepdim=True), grouped.var(dim=2, keepdim=True, unbiased=False)
        states = ((grouped - mean) / (variance + 1e-5).sqrt()).view_as(states).relu()
        states = nn.functional.max_pool2d(states, 2, ceil_mode=True)
    assert states.shape[2:] == (2, 2)
    pooled = torch.cat([states.mean(dim=(2, 3)), states.flatten(2).max(dim=2).values], dim=1)
    torch.testing.assert_close(network(graph)["photo"], linear(pooled), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("rows", [0, 1])
def test_no_rows_one_row_and_tiny_pictures_work(rows, training):
    network = ImageConv({"photo": 3}, 6, widths=(2, 8, 16, 9), shift=2, dropout=0.5).train(training)
    for size in (1, 2, 33):
        found = network(photos(rows, size=size))["photo"]
        assert found.shape == (rows, 6)
        assert found.isfinite().all()
    found.sum().backward()


def test_many_pictures_pass_in_parts(monkeypatch):
    network = ImageConv({"photo": 3}, 6).eval()
    whole = network(photos(rows=7))["photo"]
    monkeypatch.setattr("mmgraph.encoders.image._ROWS", 3)
    torch.testing.assert_close(network(photos(rows=7))["photo"], whole, atol=1e-6, rtol=1e-5)


def test_every_parameter_gets_a_gradient_and_is_kept():
    network = ImageConv({"photo": 3, "map.v2": 1}, 6)
    sum(rows.square().sum() for rows in network(photos()).values()).backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in network.parameters())
    assert {name.split(".")[1] for name in network.state_dict()} == {"[photo]", "[map·v2]"}


def test_shifts_move_pictures_while_training_alone():
    from mmgraph.encoders.image import _shifted

    pixels = torch.arange(200 * 25, dtype=torch.int64).remainder(251).to(torch.uint8).view(200, 1, 5, 5)
    torch.manual_seed(3)
    moved = _shifted(pixels, 1)
    assert moved.shape == pixels.shape
    padded = nn.functional.pad(pixels.float(), (1, 1, 1, 1), mode="replicate").to(torch.uint8)
    places = [
        next((y, x) for y in range(3) for x in range(3) if torch.equal(one, pad[:, y : y + 5, x : x + 5]))
        for one, pad in zip(moved, padded, strict=True)
    ]
    assert len(set(places)) == 9
    torch.manual_seed(3)
    assert torch.equal(_shifted(pixels, 1), moved)
    network = ImageConv({"photo": 3}, 6, shift=3)
    graph = photos()
    assert not torch.equal(network(graph)["photo"], network(graph)["photo"])
    network.eval()
    assert torch.equal(network(graph)["photo"], network(graph)["photo"])
    assert torch.equal(graph["photo"].pixels, photos()["photo"].pixels)


@pytest.mark.parametrize(
    ("pixels", "value"),
    [
        (torch.zeros(2, 3, 4, 4), r"must be \[rows, 3, height, width\] of uint8, got \[2, 3, 4, 4\] of torch.float32"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), r"got \[2, 1, 4, 4\]"),
        (torch.zeros(2, 3, dtype=torch.uint8), r"pixels of 'photo' .*got \[2, 3\]"),
        (None, "pixels of 'photo' must be .*got none"),
    ],
)
def test_other_pixels_are_refused_by_their_shape(pixels, value):
    graph = HeteroData()
    if pixels is not None:
        graph["photo"].pixels = pixels
    with pytest.raises(DataError, match=value):
        ImageConv({"photo": 3}, 6)(graph)


@pytest.mark.data
def test_digits_can_be_told_apart_by_their_gradients():
    from sklearn.linear_model import LogisticRegression

    files = [file for root in data_roots() for file in sorted(root.glob("mnist20k/raw/*/data/*.npz"))]
    if len(files) != 2:
        pytest.skip("mnist20k is not there")
    splits = {}
    for file in files:
        with np.load(file) as arrays_:
            count = 1000 if "valid" in file.name else 500
            pictures = (arrays_["inputs"][:count].astype(np.float32) * 255).round().astype(np.uint8)
            splits[file.name] = Gradients()(list(pictures.reshape(-1, 28, 28))), arrays_["targets"][:count]
    (test, test_labels), (train, train_labels) = splits["mnist-test.npz"], splits["mnist-valid.npz"]
    model = LogisticRegression(C=30, max_iter=200).fit(train, train_labels)
    assert model.score(test, test_labels) > 0.92
