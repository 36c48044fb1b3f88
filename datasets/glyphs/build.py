"""Glyphs: the characters that matplotlib's own faces can draw; name, pictures, properties and Morse code of each."""

import importlib.util
import unicodedata
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa

from mmgraph import GraphConfig, Source

LEAST = 30  # characters of a script that is a class


def _beside(name: str) -> ModuleType:
    """A module of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(f"{__name__}_{name}", Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CHART, MORSE, PICTURES = _beside("chart"), _beside("morse"), _beside("pictures")


def build(
    files: Mapping[str, Path],
    *,
    task: str = "script",
    split: str = "character",
    fonts: tuple[str, ...] = PICTURES.FACES,
    limit: int | None = None,
    next_to: bool | None = None,
    seed: int = 0,
) -> Source:
    """Builds the graph's source.

    Args:
        files: None: all is in Python, matplotlib and this folder.
        task: ``script`` leaves out what spells a character's script (name, block, script) and has it as target;
            ``all`` keeps everything and has no target.
        split: ``character`` (at random, for ``script`` stratified) or ``block`` (blocks unseen in training).
        fonts: Faces, by the names of their files; a character is taken if one of them has it.
        limit: Take the first so many characters, in the order of their code points.
        next_to: Whether neighbours in the code chart are joined; by default in ``all`` alone.
        seed: Of the random split.
    """
    _check(task, split, fonts, limit)
    files = PICTURES.font_files()
    every = sorted(set().union(*(PICTURES.covered(files[face]) for face in fonts)))
    if not every:
        raise ValueError(
            f"fonts must have glyphs of letters, marks, numbers, punctuation or symbols, got {list(fonts)}"
        )
    script_of, block_of = CHART.ranges("scripts"), CHART.ranges("blocks")
    counts = Counter(script_of(character) for character in every)
    classes = sorted(name for name, number in counts.items() if name is not None and number >= LEAST)
    parts = CHART.parts(every, classes, script_of, block_of)
    characters = every[:limit]

    scripts = [script_of(character) for character in characters]
    columns: dict[str, Any] = {"code": [CHART.code(character) for character in characters], "character": characters}
    columns |= {name: CHART.property(name, characters) for name in CHART.PROPERTIES}
    columns["pictures"] = pa.array(PICTURES.pictures(characters, tuple(fonts)), pa.list_(pa.binary()))
    codes = MORSE.read_codes()
    sounds = (MORSE.recordings(one, codes[one]) if one in codes else None for one in characters)
    columns["sounds"] = pa.array(sounds, pa.list_(pa.binary()))
    if task == "script":
        columns["script"] = pa.array([name if name in classes else None for name in scripts], pa.string())
    else:
        columns["script"] = pa.array(scripts, pa.string())
        columns["block"] = [block_of(character) for character in characters]
        columns["name"] = [unicodedata.name(character).lower() for character in characters]
    if split == "block":
        columns["part"] = pa.array([parts.get(character) for character in characters], pa.string())

    tables = {"characters": pa.table(columns), **CHART.relations(characters)}
    if task == "all":
        tables["blocks"] = pa.table({"block": (names := list(dict.fromkeys(columns["block"]))), "title": names})
    if not (task == "all" if next_to is None else next_to):
        del tables["next_to"]
    return Source(_config(task, split, tables, classes, seed), tables)


def _config(task: str, split: str, tables: Mapping[str, pa.Table], classes: list[str], seed: int) -> GraphConfig:
    columns: dict[str, Any] = {"character": "keep", "pictures": {"modality": "image", "node": "picture"}}
    columns["sounds"] = {"modality": "audio", "node": "sound"}
    columns |= {name: {"modality": kind, "node": "properties"} for name, kind in CHART.PROPERTIES.items()}
    nodes: dict[str, Any] = {"character": {"table": "characters", "key": "code", "columns": columns}}
    edges: list[dict[str, Any]] = [
        {"type": ("character", name, "character"), "table": name, "source": "source", "target": "target"}
        | ({"inverse": "composes"} if name == "decomposes_to" else {"symmetric": name == "next_to"})
        for name in tables
        if "source" in tables[name].column_names
    ]
    if task == "all":
        columns["name"] = "text"
        title = {"modality": "text", "node": "block_name"}
        nodes["block"] = {"table": "blocks", "key": "block", "columns": {"title": title}}
        edges += [{"type": ("character", f"in_{name}", name), "column": name} for name in ("block", "script")]
    by = "column" if split == "block" else "stratified" if task == "script" else "random"
    return GraphConfig(
        name="glyphs",
        anchor="character",
        nodes=nodes,
        edges=edges,
        targets={"script": {"column": "script", "kind": "multiclass", "classes": classes}} if task == "script" else {},
        split={"by": by, "column": "part" if split == "block" else None, "seed": seed},
    )


def _check(task: str, split: str, fonts: tuple[str, ...], limit: int | None) -> None:
    if task not in ("script", "all"):
        raise ValueError(f"task must be script or all, got {task!r}")
    if split not in ("character", "block"):
        raise ValueError(f"split must be character or block, got {split!r}")
    known = PICTURES.font_files()
    wrong = fonts if isinstance(fonts, str) else [face for face in fonts if face not in known]
    if wrong or not fonts:
        raise ValueError(f"fonts must be some of {sorted(known)}, got {wrong!r}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
