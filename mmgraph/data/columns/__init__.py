"""Columns on disk: written by growing, read through a map, checked where they are touched; and graphs as columns."""

from mmgraph.data.columns.columns import Column, Columns
from mmgraph.data.columns.writer import ColumnsWriter

__all__ = ["Column", "Columns", "ColumnsWriter"]
