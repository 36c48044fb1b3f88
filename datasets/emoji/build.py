"""Emoji: pictures, names and keywords in three languages, groups and skin-tone variants."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmgraph import GraphConfig, Source


def build(
    files: Mapping[str, Path], *, base_only: bool = True, relations: bool = False, languages: Sequence[str] = ("en",)
) -> Source:
    """The emoji.

    Args:
        files: Pictures, OpenMoji's table, and the annotations of CLDR.
        base_only: Leave skin-tone variants out.
        relations: Groups and subgroups are nodes; then they are no target.
        languages: Of names and keywords: ``en``, ``de``, ``fr``.
    """
    if wrong := sorted(set(languages) - {"en", "de", "fr"}):
        raise ValueError(f"languages must be among de, en and fr, got {wrong[0]!r}")
    pictures = {path.name: path for path in files.values() if path.suffix == ".png"}
    notes = {language: _notes(files, language) for language in languages}
    (table,) = (path for path in files.values() if path.suffix == ".csv")
    rows = []
    with table.open(encoding="utf-8", newline="") as file:
        for one in csv.DictReader(file):
            code, base = one["hexcode"], one["skintone_base_hexcode"] or one["hexcode"]
            picture = f"emoji_u{'_'.join(part for part in code.lower().split('-') if part != 'fe0f')}.png"
            if picture not in pictures or one["group"] == "extras-openmoji" or (base_only and one["skintone"]):
                continue
            row = {"code": code, "picture": picture, "group": one["group"], "subgroup": one["subgroups"]}
            row |= {"base": base, "variant_of": base if one["skintone"] else None}
            for language, note in notes.items():
                said = note.get(one["emoji"].replace("\ufe0f", ""), {})
                row[f"name_{language}"] = one["annotation"] if language == "en" else (said.get("tts") or [None])[0]
                row[f"keywords_{language}"] = said.get("default", [])
            rows.append(row)
    columns = {"picture": "image"}
    columns |= {f"{what}_{language}": "text" for what in ("name", "keywords") for language in languages}
    nodes: dict[str, Any] = {"emoji": {"table": "emoji", "key": "code", "columns": columns}}
    edges: list[dict[str, Any]] = []
    if not base_only:
        edges.append({"type": ("emoji", "variant_of", "emoji"), "column": "variant_of", "inverse": "has_variant"})
    if relations:
        nodes["subgroup"] = {"table": "subgroups", "key": "subgroup"}
        edges.append({"type": ("emoji", "in_subgroup", "subgroup"), "column": "subgroup", "inverse": "holds"})
        edges.append({"type": ("subgroup", "in_group", "group"), "column": "group", "inverse": "holds"})
    config = GraphConfig(
        name="emoji",
        anchor="emoji",
        nodes=nodes,
        edges=edges,
        targets={} if relations else {"group": {"column": "group", "kind": "multiclass"}},
        split={"by": "group", "column": "base", "test": 0.2, "val": 0.1},  # variants stay with their base
    )
    subgroups = dict(sorted((row["subgroup"], row["group"]) for row in rows))
    tables = {
        "emoji": pa.Table.from_pylist(rows),
        "subgroups": pa.table({"subgroup": list(subgroups), "group": list(subgroups.values())}),
    }
    return Source(config, tables=tables, root=next(iter(pictures.values())).parent)


def _notes(files: Mapping[str, Path], language: str) -> dict[str, dict[str, list[str]]]:
    """Emoji → its keywords and name; those of variants are derived, and there in English alone."""
    found: dict[str, dict[str, list[str]]] = {}
    for path in files.values():
        if path.parent.name == language and path.name == "annotations.json":
            for part in json.loads(path.read_text(encoding="utf-8")).values():
                found |= {key.replace("\ufe0f", ""): value for key, value in part["annotations"].items()}
    return found
