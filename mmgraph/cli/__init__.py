"""The command ``mmgraph``; each command is imported only when it is called."""

from mmgraph.cli.main import main

__all__ = ["main"]
