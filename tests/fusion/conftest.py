"""Parts of three widths in float64, some absent."""

import pytest
import torch

from mmgraph.testing import fake_parts

WIDTHS = {"audio": 2, "image": 3, "text": 4}


@pytest.fixture
def widths():
    return dict(WIDTHS)


@pytest.fixture
def parts(widths):
    """(parts, present); anchor 0 has all parts, anchor 1 none."""
    torch.manual_seed(0)
    parts, present = fake_parts(15, widths=widths)
    return {name: part.double() for name, part in parts.items()}, present


@pytest.fixture
def shared():
    """Parts of one width."""
    parts, present = fake_parts(15, widths=dict.fromkeys(WIDTHS, 3), seed=1)
    return {name: part.double() for name, part in parts.items()}, present
