"""Codes are those of brute force, pictures come back, and what is fitted is kept, seeded and of the training alone."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from mmgraph.decoders.decoding import Decoding
from mmgraph.encoders import frozen_class, load_frozen, make_frozen, save_frozen
from mmgraph.encoders.codes import FIRST, Codes
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.files import seal
from mmgraph.testing import check_frozen

SMALL = {"size": 8, "codes": 6, "channels": 3, "hidden": 16, "epochs": 150}


def shapes(count=24, size=8, seed=0):
    """Bars at some place, white on black."""
    draw = np.random.default_rng(seed)
    pictures = np.zeros((count, size, size), dtype=np.uint8)
    for picture in pictures:
        place = draw.choice([1, size - 3])
        picture[(slice(None), slice(place, place + 2))[:: draw.choice([-1, 1])]] = draw.integers(180, 256)
    return list(pictures)


@pytest.fixture(scope="module")
def codes():
    return Codes.fit(shapes(), **SMALL)


def test_a_picture_is_a_text_of_equally_many_codes_without_an_end(codes):
    numbers = codes(shapes())
    assert numbers.shape == (24, 4) == (24, *codes.shape)
    assert numbers.dtype == torch.int64
    assert numbers.min() >= FIRST
    assert numbers.max() < len(codes.pieces)
    assert codes.pieces == ("", "", "code 0", "code 1", "code 2", "code 3", "code 4", "code 5")
    assert codes.attribute == "codes"


def test_a_code_is_the_nearest_to_its_square_row_by_row_from_the_upper_left(codes):
    picture = shapes()[3]
    levels = torch.from_numpy(picture).float()[None, None] / 127.5 - 1
    state = codes.state()
    vectors = codes._networks.into(levels)[0]  # [channels, 2, 2]
    for place, number in enumerate(codes([picture])[0].tolist()):
        gaps = (state["codebook"] - vectors[:, place // 2, place % 2]).square().sum(dim=1)
        assert int(gaps.argmin()) == number - FIRST
    changed = picture.copy()
    changed[6:, 6:] = 255 - changed[6:, 6:]  # out of sight of the upper left
    assert codes([changed])[0, 0] == codes([picture])[0, 0]


def test_pictures_come_back(codes):
    pictures = torch.from_numpy(np.stack(shapes()))[:, None]
    made = codes.decode(codes(shapes()))
    assert made.shape == pictures.shape
    assert made.dtype == torch.uint8
    different = np.unique(pictures.flatten(1).numpy(), axis=0, return_index=True)[1]
    error = ((made.float() - pictures)[different] / 255).square().mean()
    assert float(error) == pytest.approx(codes.error, rel=0.02)  # rounded to bytes
    assert codes.error < 0.3 * float((pictures / 255.0).var())
    assert 2 < codes.perplexity <= 6


def test_colours_and_other_sizes(codes):
    draw = np.random.default_rng(0)
    pictures = [np.full((9, 12, 3), draw.integers(0, 256, 3), dtype=np.uint8) for _ in range(8)]
    coloured = Codes.fit(pictures, size=12, colours=3, codes=4, hidden=4, epochs=2)
    assert coloured(pictures).shape == (8, 9)
    assert coloured.decode(coloured(pictures)).shape == (8, 3, 12, 12)


def test_what_is_no_code_is_the_most_frequent_one(codes):
    counts = torch.bincount(codes(shapes()).flatten(), minlength=8)
    usual = int(counts.argmax())
    assert torch.equal(codes.decode(torch.tensor([[0, 1, 0, 1]])), codes.decode(torch.full((1, 4), usual)))
    assert codes.decode(torch.zeros(0, 4, dtype=torch.int64)).shape == (0, 1, 8, 8)


@pytest.mark.parametrize(
    ("numbers", "value"),
    [
        (torch.zeros(2, 5, dtype=torch.int64), r"must be \[rows, 4\] whole numbers, got \[2, 5\]"),
        (torch.zeros(2, 4), "whole numbers, got .* of torch.float32"),
        (torch.full((1, 4), 8), "must be from 0 to 7, got 8 to 8"),
        (torch.full((1, 4), -1), "must be from 0 to 7, got -1 to -1"),
    ],
)
def test_what_can_not_be_decoded_is_refused(codes, numbers, value):
    with pytest.raises(DataError, match=value):
        codes.decode(numbers)


def test_the_same_seed_gives_the_same_bits_whatever_was_drawn_before(codes):
    torch.manual_seed(123)
    before = torch.get_rng_state()
    with torch.no_grad():
        again = Codes.fit(shapes(), **SMALL)
    assert torch.equal(torch.get_rng_state(), before)
    assert again.identity == codes.identity
    other = Codes.fit(shapes(), **SMALL, seed=1)
    assert other.identity.revision != codes.identity.revision


def test_equal_pictures_are_learned_from_once(codes):
    again = Codes.fit([*shapes(), *shapes()[:9]], **SMALL)
    assert again.identity == codes.identity


def test_it_keeps_its_promises_and_comes_back_from_a_folder(codes, tmp_path):
    file = io.BytesIO()
    Image.fromarray(shapes()[0]).save(file, "PNG")
    check_frozen(codes, shapes()[:4], [None, b"", file.getvalue()[:30]], options=SMALL)
    assert frozen_class("codes") is Codes
    made = make_frozen("codes", shapes(), **SMALL)
    assert made.identity == codes.identity
    save_frozen("codes", SMALL, made, tmp_path / "codes")
    back = load_frozen(tmp_path / "codes")
    assert (back.error, back.perplexity, back.pieces) == (codes.error, codes.perplexity, codes.pieces)
    assert torch.equal(back.decode(back(shapes())), codes.decode(codes(shapes())))


def test_a_state_of_other_options_is_refused(codes, tmp_path):
    with pytest.raises(ArtifactError, match=r"(?s)must be of .*'codes': 7.*fit it anew"):
        Codes.restore({**SMALL, "codes": 7}, codes.state())
    with pytest.raises(ArtifactError, match="(?s)Missing key.*fit it anew"):
        Codes.restore(SMALL, {})
    save_frozen("codes", SMALL, codes, tmp_path / "codes")
    file = tmp_path / "codes" / "encoder.json"
    file.write_text(file.read_text().replace('"hidden": 16', '"hidden": 17'))
    seal(tmp_path / "codes")
    with pytest.raises(ArtifactError, match="fit it anew"):
        load_frozen(tmp_path / "codes")


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({"size": 10}, "multiple of 4 and colours 1 or 3, got 10 and 1"),
        ({"size": 0}, "got 0 and 1"),
        ({"colours": 2}, "got 28 and 2"),
        ({"codes": 0}, "got 0, 16, 32, 20 and 0"),
        ({"epochs": 0}, "got 64, 16, 32, 0 and 0"),
        ({"seed": -1}, "got 64, 16, 32, 20 and -1"),
    ],
)
def test_options_out_of_range_are_refused(options, value):
    with pytest.raises(ConfigError, match=value):
        Codes.fit(shapes(), **options)


def test_there_must_be_pictures():
    with pytest.raises(DataError, match="at least 1 picture, got none"):
        Codes.fit([])
    with pytest.raises(DataError, match="got one bytes"):
        Codes.fit(b"GIF89a")


def test_a_decoder_of_texts_learns_and_draws_them(codes):
    from mmgraph.decoders import TransformerDecoder
    from mmgraph.typing import Sources

    torch.manual_seed(0)
    numbers = codes(shapes())
    decoder = TransformerDecoder(
        8, vocabulary=len(codes.pieces), length=codes.shape[0], dropout=0.0, attribute="codes",
        decoding=Decoding(method="nucleus", top_p=1.0),
    )  # fmt: skip
    sources = Sources(torch.eye(8)[torch.arange(24) % 8][:, None], torch.ones(24, 1, dtype=torch.bool))
    optimiser = torch.optim.Adam(decoder.parameters(), lr=1e-2)
    for _ in range(30):
        optimiser.zero_grad()
        loss = decoder.losses(sources, numbers)["total"].mean()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.7 * float(torch.tensor(len(codes.pieces)).log()) * 4
    drawn = decoder.eval().generate(sources, generator=torch.Generator().manual_seed(0))
    assert drawn.shape == numbers.shape
    assert codes.decode(drawn).shape == (24, 1, 8, 8)
