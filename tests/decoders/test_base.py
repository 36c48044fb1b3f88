import torch

from mmgraph.decoders import Decoder


class Doubled(Decoder):
    def forward(self, states):
        return 2 * states


def test_a_decoder_of_ones_own_decodes_in_the_unit_of_the_payload():
    decoder = Doubled("mel", centre=-3.0, scale=0.5)
    assert decoder.attribute == "mel"
    assert decoder.decode(torch.tensor([[1.0]])).item() == -2.0
    assert decoder.scaled(torch.tensor([-2.0], dtype=torch.float16)).dtype == torch.float32
