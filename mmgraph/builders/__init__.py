"""From records to graphs: the relations that are not in the table."""

from mmgraph.builders.population import Population, PopulationConfig

__all__ = ["Population", "PopulationConfig"]
