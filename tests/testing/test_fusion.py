import pytest
import torch
from torch import nn

from mmgraph.fusion import Fusion
from mmgraph.testing import check_fusion, fake_parts

WIDTHS = {"scan": 3, "text": 5}


class Good(Fusion):
    """Sum of one linear map a part."""

    def __init__(self):
        super().__init__()
        self.maps = nn.ModuleDict({name: nn.Linear(width, 4) for name, width in WIDTHS.items()})

    def forward(self, parts, present):
        each = [
            self.maps[name](part.where(present[name][:, None], 0)) * present[name][:, None]
            for name, part in sorted(parts.items())
        ]
        return torch.stack(each).sum(dim=0)


class InOrder(Good):
    def forward(self, parts, present):
        first = next(iter(parts))
        return super().forward(parts, present) + parts[first].sum() * 0 + len(first) * present[first][:, None]


class MasksAfter(Good):
    def forward(self, parts, present):
        each = [self.maps[name](part) * present[name][:, None] for name, part in sorted(parts.items())]
        return torch.stack(each).sum(dim=0)


class MasksResult(Good):
    def forward(self, parts, present):
        each = [
            self.maps[name](part).where(present[name][:, None], torch.zeros(4)) for name, part in sorted(parts.items())
        ]
        return torch.stack(each).sum(dim=0)


class BiasForNobody(Good):
    def forward(self, parts, present):
        each = [self.maps[name](part.where(present[name][:, None], 0)) for name, part in sorted(parts.items())]
        return torch.stack(each).sum(dim=0)


class Listed(Good):
    def __init__(self):
        super().__init__()
        maps = dict(self.maps)
        del self.maps
        self.maps = maps  # a plain dict: nobody finds its weights


class Unused(Good):
    def __init__(self):
        super().__init__()
        self.spare = nn.Parameter(torch.ones(2))


class Detached(Good):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, parts, present):
        return super().forward(parts, present) * (1 + 0 * self.scale)


class CutsOff(Good):
    def forward(self, parts, present):
        return super().forward({name: part.detach() for name, part in parts.items()}, present)


class SquareRoot(Good):
    def forward(self, parts, present):
        return super().forward(parts, present) + sum(part.abs().sqrt().sum() * 0 for part in parts.values())


class NotRows(Good):
    def forward(self, parts, present):
        return super().forward(parts, present).sum(dim=0)


class NotFinite(Good):
    def forward(self, parts, present):
        return super().forward(parts, present) / torch.stack(list(present.values())).sum(dim=0)[:, None]


class Centres(Good):
    """Reads the other anchors."""

    def forward(self, parts, present):
        out, some = super().forward(parts, present), torch.stack(list(present.values())).any(dim=0)[:, None]
        return (out - out.sum(dim=0) / max(len(out), 1)) * some


class Scales(Good):
    """Divides by how many anchors have the part: by nothing, where nobody has."""

    def forward(self, parts, present):
        share = present["text"].sum() / present["text"].sum()
        return super().forward(parts, present) * torch.where(torch.stack(list(present.values())).any(), share, 0)


BROKEN = {
    Centres: r"Centres must give 1 anchor\(s\) what they get among others",
    Scales: r"Scales must stay finite where nobody has 'text', got others by 7.0 in \['the result'",
    InOrder: "InOrder must not depend on the order of the keys",
    MasksAfter: "MasksAfter must not read 'scan' where it is absent, got another result by nan",
    MasksResult: r"MasksResult must not read 'scan' where it is absent, got another gradient of .* by nan",
    BiasForNobody: "BiasForNobody must give zeros where all parts are absent, got tensor",
    Listed: r"Listed learns a tensor \[4(, \d)?\] that is not in parameters",
    Unused: r"Unused must send a gradient to 'spare', got None",
    Detached: "Detached must learn 'scale', got no change by one step",
    CutsOff: "CutsOff must send a gradient to 'scan' where it is present, got none",
    SquareRoot: "SquareRoot must send finite gradients, got others for part 'scan'",
    NotRows: r"NotRows must give a row an anchor, \[12, channels\], got \[4\]",
    NotFinite: "NotFinite must give finite vectors",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_promise_is_found(broken):
    torch.manual_seed(0)
    with pytest.raises(AssertionError, match=BROKEN[broken]):
        check_fusion(broken(), *fake_parts())


def test_a_good_fusion_passes_and_keeps_its_weights():
    fusion = Good()
    before = {name: value.clone() for name, value in fusion.state_dict().items()}
    check_fusion(fusion, *fake_parts())
    assert all(torch.equal(value, before[name]) for name, value in fusion.state_dict().items())
    assert all(parameter.grad is None for parameter in fusion.parameters())


def test_a_part_that_nobody_lacks_proves_nothing():
    parts, present = fake_parts()
    with pytest.raises(AssertionError, match="Some anchors must have 'text' and some not"):
        check_fusion(Good(), parts, {**present, "text": torch.ones(12, dtype=torch.bool)})
