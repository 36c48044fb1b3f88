"""A page to search a graph with, and the same as a small JSON API; on this machine alone unless asked otherwise."""

from mmgraph.serve.app import make_app, serve
from mmgraph.serve.limits import Limits

__all__ = ["Limits", "make_app", "serve"]
