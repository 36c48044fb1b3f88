"""What neighbour sampling is made of: drawing, naming again, seeds, and what must stay hidden."""

from mmgraph.data.sampling.seeds import LinkSeeds, NodeSeeds

__all__ = ["LinkSeeds", "NodeSeeds"]
