"""Nations, Kinship, UMLS and Countries: small knowledge graphs with the parts that papers use."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow.compute as pc

from mmgraph import Built, GraphConfig, KnowledgeGraph, Source, build_graph, read_triples, tabulate

FOLDERS = {
    "nations": "other/nations",
    "kinship": "other/kinship",
    "umls": "other/umls",
    "countries_s1": "other/countries/countries_S1",
    "countries_s2": "other/countries/countries_S2",
    "countries_s3": "other/countries/countries_S3",
}
RELATION_FIRST = ("nations", "kinship")
PARTS = {"train": "train.txt", "val": "valid.txt", "test": "test.txt"}
LITERALS = Path(__file__).with_name("nations.tsv")


def build(files: Mapping[str, Path], *, graph: str = "nations", literals: bool = False) -> KnowledgeGraph:
    """One of the graphs.

    Args:
        files: Three files a graph.
        graph: ``nations``, ``kinship``, ``umls``, ``countries_s1``, ``countries_s2`` or ``countries_s3``.
        literals: Of ``nations``: area, place of the capital and admission to the United Nations, a node ``table`` that
            hangs on each country, scaled. Of the area it is the logarithm.
    """
    if graph not in FOLDERS:
        raise ValueError(f"graph must be one of {list(FOLDERS)}, got {graph!r}")
    if literals and graph != "nations":
        raise ValueError(f"literals are known of 'nations' alone, got graph={graph!r}; leave them out")
    columns = (1, 0, 2) if graph in RELATION_FIRST else (0, 1, 2)
    (folder,) = {path.parent for name, path in files.items() if name.endswith(f"{FOLDERS[graph]}/train.txt")}
    triples = {part: read_triples(folder / name, columns=columns, rejected=0) for part, name in PARTS.items()}
    return KnowledgeGraph.fit(triples, payloads=_literals() if literals else None)


def _literals() -> Built:
    """What is known of countries in numbers, a tabular node each."""
    table = tabulate(read_triples(LITERALS, rejected=0).literals, rejected=0)
    table = table.set_column(1, "log10_area", pc.log10(table["area"]))
    columns = dict.fromkeys(table.column_names[1:], "numeric")
    nodes = {"entity": {"table": "entities", "key": "entity", "columns": columns}}
    return build_graph(Source(GraphConfig(name="nations", anchor="entity", nodes=nodes), tables={"entities": table}))
