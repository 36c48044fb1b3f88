import pytest
import torch

from mmgraph.blueprint import rebuild
from mmgraph.errors import ArtifactError

GATED = "mmgraph.fusion.Gated"


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        ({"class": GATED}, "must give each class with its arguments, got 'mmgraph.fusion.Gated' with None"),
        ({"class": 3, "arguments": {}}, "must give each class with its arguments, got 3"),
        ({"class": GATED, "arguments": {}, "code": "x"}, "must give each class with its arguments"),
        ({"class": GATED, "arguments": {"widths": 3, "channels": 2}}, "Gated can't be made as the blueprint says: "),
        ({"class": GATED, "arguments": {"nonsense": 3}}, "unexpected keyword argument 'nonsense'"),
        ({"class": "mmgraph.fusion.Fusion", "arguments": {}}, "abstract"),
        ({"class": GATED, "arguments": {"widths": {"dict": {}}, "channels": 2}}, "at least 1 part"),
        ({"class": "torch.nn.Linear", "arguments": {"in_features": -1, "out_features": 2}}, "Linear can't be made"),
        ({"tuple": [], "set": []}, r"must say one thing, got \['set', 'tuple'\]"),
        ({}, r"must say one thing, got \[\]"),
        ({"eval": "1"}, "must be of a known kind, got 'eval'"),
        ({"same_as": 7}, "must give a same_as in its own form, got 7"),
        ({"dtype": "load"}, r"must give a dtype in its own form, got 'load' \(no dtype of torch\)"),
        ({"dtype": "nonsense"}, "must give a dtype in its own form, got 'nonsense'"),
        ({"number": "7"}, "must give a number in its own form, got '7'"),
        ({"tuple": 7}, "must give a tuple in its own form, got 7"),
        ({"dict": [[1, 2, 3]]}, "must give a dict in its own form"),
        ({"set": [[1]]}, "must give a set in its own form"),
        ({"function": "os.system"}, "may name functions of mmgraph"),
        ({"tuple": [{"class": "os.system", "arguments": {}}]}, "got 'os.system'"),
    ],
)
def test_what_is_no_blueprint_is_refused(tree, told):
    with pytest.raises(ArtifactError, match=told):
        rebuild(tree)


def test_what_is_nested_without_end_is_refused():
    tree = []
    for _ in range(5000):
        tree = [tree]
    with pytest.raises(ArtifactError, match="must not be nested this deep"):
        rebuild(tree)


def test_arguments_that_are_left_out_have_their_defaults():
    tree = {"class": "mmgraph.fusion.LowRank", "arguments": {"widths": {"dict": {"a": 2}}, "channels": 3}}
    assert rebuild(tree).factors["[a]"].shape == (3, 4, 3)  # of rank 4


def test_positional_and_spread_arguments_find_their_places():
    inner = {"class": "mmgraph.encoders.Raw", "arguments": {"nodes": ["a"]}}
    joined = rebuild({"class": "mmgraph.encoders.Joined", "arguments": {"encoders": {"tuple": [inner]}}})
    assert joined.encoders[0].nodes == ("a",)


def test_no_random_number_is_taken():
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    rebuild({"class": "torch.nn.Linear", "arguments": {"in_features": 20, "out_features": 30}})
    assert torch.equal(torch.rand(2), wanted)
