"""More than one process: payloads encoded by workers of this machine or of a Ray cluster, training under Ray Train."""

from mmgraph.cluster.training import train_on_ray
from mmgraph.cluster.workers import ENGINES, Workers, open_workers

__all__ = ["ENGINES", "Workers", "open_workers", "train_on_ray"]
