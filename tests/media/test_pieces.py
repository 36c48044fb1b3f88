import pytest
import torch

from mmgraph.errors import DataError
from mmgraph.media.pieces import spell


def test_pieces_are_spelt_up_to_the_end():
    vocabulary = ["", "", "Ġ", "Ã", "©", "<|a b|>"]
    assert spell(vocabulary, torch.tensor([[3, 4, 2, 3, 4], [3, 4, 1, 3, 4], [0, 3, 4, 3, 4]])) == ["é é", "é", ""]
    assert spell(vocabulary, torch.tensor([[3, 2, 4, 5]])) == ["\ufffd \ufffd<|a b|>"]
    assert spell(vocabulary, torch.empty(0, 3, dtype=torch.int64)) == []
    assert spell(vocabulary, torch.empty(2, 0, dtype=torch.int64)) == ["", ""]


@pytest.mark.parametrize("tokens", [[[9]], [[-1]]])
def test_numbers_without_a_piece_are_refused(tokens):
    with pytest.raises(DataError, match=f"tokens must be from 0 to 2, got {tokens[0][0]} to"):
        spell(["", "", "a"], torch.tensor(tokens))


@pytest.mark.parametrize("tokens", [torch.zeros(3, dtype=torch.int64), torch.zeros(2, 3)])
def test_other_shapes_are_refused(tokens):
    with pytest.raises(DataError, match="must be whole numbers"):
        spell(["", ""], tokens)
