"""A notebook with its outputs as a page."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import nbformat

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def to_markdown(path: Path) -> tuple[str, dict[str, bytes]]:
    """Gives a notebook's cells and outputs as Markdown, and the pictures that the page shows, by their names."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for place, output in enumerate(cell.outputs):
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{path.stem}-{number}-{place}.png"
                pictures[name] = base64.b64decode(data["image/png"])
                parts.append(f"![{cell.metadata.get('alt', '')}]({name})")
            elif "text/markdown" in data:
                parts.append(data["text/markdown"])
            else:
                parts.append(f"```text\n{_plain(output)}\n```")
    return "\n\n".join(parts) + "\n", pictures


def _plain(output: Any) -> str:
    text = output.get("text") or output.get("data", {}).get("text/plain", "")
    return COLOUR.sub("", text).strip("\n")
