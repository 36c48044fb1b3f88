import json

import pytest

from mmgraph.schema import Modality


def test_a_modality_is_its_name():
    assert Modality.IMAGE == "image"
    assert json.dumps({"modality": Modality.TEXT}) == '{"modality": "text"}'


def test_an_unknown_modality_is_refused():
    with pytest.raises(ValueError, match="smell"):
        Modality("smell")
