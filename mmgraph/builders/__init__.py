"""From records to graphs: the relations that are not in the table."""

from mmgraph.builders.config import PopulationConfig
from mmgraph.builders.population import Population

__all__ = ["Population", "PopulationConfig"]
