import pytest
import torch

from mmgraph.decoders import Dense
from mmgraph.errors import ConfigError


def test_equals_its_formula():
    torch.manual_seed(0)
    decoder = Dense(3, (2, 4), hidden=[5])
    states = torch.randn(6, 3)
    first, last = decoder.network[0], decoder.network[2]
    expected = (states @ first.weight.T + first.bias).relu() @ last.weight.T + last.bias
    torch.testing.assert_close(decoder(states), expected.reshape(6, 2, 4))


def test_scaled_and_decode_are_each_others_inverse():
    decoder = Dense(2, (3,), centre=10.0, scale=4.0)
    states = torch.randn(5, 2)
    torch.testing.assert_close(decoder.scaled(decoder.decode(states)), decoder(states))
    assert decoder.scaled(torch.tensor([14, 6], dtype=torch.uint8)).tolist() == [1.0, -1.0]


def test_no_row_works():
    assert Dense(2, (1, 4, 4))(torch.empty(0, 2)).shape == (0, 1, 4, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": ()}, r"at least 1, got 2, \[\]"),
        ({"shape": (0,)}, r"got 2, \[0\]"),
        ({"hidden": [0]}, r"and \[0\]"),
        ({"scale": 0.0}, r"scale must be above 0, got 0.0"),
        ({"scale": float("nan")}, r"scale must be above 0, got nan"),
    ],
)
def test_what_is_out_of_range_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Dense(2, **{"shape": (3,), **options})
