"""What a person looks at after a run: one page that stands alone, with the scores beside their controls.

A :class:`Story` is all that a page is made of; :func:`render` gives its HTML, :func:`write` puts it in a file.
The page loads nothing from anywhere, looks right in light and in dark, on a phone and on paper, and equal
stories give equal bytes.
"""

from mmgraph.report.html import render, write
from mmgraph.report.story import Neighbourhood, Story

__all__ = ["Neighbourhood", "Story", "render", "write"]
