"""What MkDocs can't do by itself: formulas, the pages of the API and the notebooks, links out of the docs."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import docstrings
import mathml
import notebook_pages
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
FORMULA = re.compile(r"^\$\$(.+?)\$\$$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<![\\$\w])\$(?!\s)([^$`]+?)(?<!\s)\$(?![$\w])")


def on_config(config: Any) -> Any:
    """Teaches Markdown to set formulas, and fills the parts of the navigation that are made."""

    def inline(source: str, *_: Any, **__: Any) -> str:
        return mathml.mathml(source)

    def block(source: str, *_: Any, **__: Any) -> str:
        return f'<p class="formula">{mathml.mathml(source, display=True)}</p>'

    maths = {"name": "math", "class": "math"}
    config.mdx_configs.setdefault("pymdownx.inlinehilite", {})["custom_inline"] = [maths | {"format": inline}]
    config.mdx_configs.setdefault("pymdownx.superfences", {})["custom_fences"] = [maths | {"format": block}]
    config.rooms = docstrings.rooms(ROOT / "mmgraph")
    config.notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    made = {
        "API": ["api/index.md", *({room.path: room.page} for room in config.rooms)],
        "Notebooks": [f"notebooks/{notebook.stem}.md" for notebook in config.notebooks],
    }
    config.nav = [{title: made[title]} if (title := next(iter(entry))) in made else entry for entry in config.nav]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that are made: one for each room of the package, and one for each notebook with its pictures."""
    for room in config.rooms:
        files.append(File.generated(config, room.page, content=_room_page(room)))
    files.append(File.generated(config, "api/index.md", content=_index_page(config.rooms)))
    for notebook in config.notebooks:
        text, pictures = notebook_pages.to_markdown(notebook)
        files.append(File.generated(config, f"notebooks/{notebook.stem}.md", content=text))
        for name, content in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Marks the formulas of a page, so that they are set like those of the docstrings."""
    parts = CODE.split(markdown)
    for place in range(0, len(parts), 2):  # between pieces of code
        text = FORMULA.sub(lambda match: f"```math\n{match.group(1).strip()}\n```", parts[place])
        parts[place] = INLINE.sub(lambda match: f"`#!math {' '.join(match.group(1).split())}`", text)
    return "".join(parts)


def _room_page(room: docstrings.Room) -> str:
    page = f"::: {room.path}\n    options: {{members: [], heading_level: 1, show_root_full_path: true}}\n"
    page += "".join(f"\n::: {path}\n" for path in room.names.values())
    if room.others:
        page += f"\nOffered here too: {', '.join(f'[`{name}`][{path}]' for name, path in room.others.items())}.\n"
    return page


def _index_page(rooms: list[docstrings.Room]) -> str:
    paths = {f"{room.path}.{name}": path for room in rooms for name, path in (room.names | room.others).items()}
    lines = ["# API", "", "Each room of the package has a page.", "", "| room | holds |", "|---|---|"]
    lines += [f"| [`{room.path}`]({posixpath.basename(room.page)}) | {_plain(room.summary)} |" for room in rooms]
    lines += ["", "These have a name under `mmgraph` itself, and are imported when they are first used:", ""]
    lines += ["| name | is |", "|---|---|"]
    lines += [f"| `mmgraph.{name}` | [`{home}`][{paths[home]}] |" for name, home in sorted(_top_names().items())]
    return "\n".join(lines) + "\n"


def _top_names() -> dict[str, str]:
    """The lazy names of the package → the rooms they come from."""
    scope: dict[str, Any] = {}
    exec(compile((ROOT / "mmgraph" / "__init__.py").read_text(encoding="utf-8"), "mmgraph", "exec"), scope)
    return {name: f"{module}.{name}" for name, module in scope["_MODULE_OF"].items()}


def _plain(summary: str) -> str:
    return docstrings.to_markdown(summary.replace("|", "\\|"), lambda _: None)
