"""mmgraph: graph-centric multimodal learning.

Every sample is a heterogeneous graph, every pipeline a graph task, every score stands beside its controls.
Names are imported when they are first used: ``import mmgraph`` itself loads no torch.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "mmgraph.aligner": ("Aligner",),
    "mmgraph.assembly": ("Built", "GraphConfig", "Source", "build_graph", "database_source"),
    "mmgraph.builders": ("KnowledgeGraph", "Population", "PopulationConfig"),
    "mmgraph.data": (
        "Collection",
        "CollectionWriter",
        "FeatureNoise",
        "LinkSeeds",
        "Loader",
        "ModalityDropout",
        "NeighbourLoader",
        "NeighbourSampler",
        "NodeSeeds",
        "Records",
        "Split",
        "Triples",
        "Walker",
        "drop_modalities",
        "fill",
        "load_dataset",
        "read_triples",
        "stratified_split",
        "tabulate",
        "untabulate",
        "write_triples",
    ),
    "mmgraph.entity_aligner": ("EntityAligner",),
    "mmgraph.encoders": ("FeatureCache", "encode"),
    "mmgraph.engine": ("Engine",),
    "mmgraph.linker": ("Linker",),
    "mmgraph.estimators": ("GraphClassifier", "GraphRegressor"),
    "mmgraph.index": ("BM25", "Exact", "Faiss", "Hit", "Hybrid", "MultiVector", "Store"),
    "mmgraph.model": ("Model", "classifier"),
    "mmgraph.objectives": ("Contrast", "Late", "Supervised"),
    "mmgraph.pretrained": ("Card", "from_pretrained", "save_pretrained"),
    "mmgraph.run": ("Run",),
    "mmgraph.search": ("embed_new", "index_subgraphs", "subgraph"),
    "mmgraph.socratic": ("Agent", "Socratic"),
    "mmgraph.sweep": ("sweep_missing",),
    "mmgraph.tasks": ("EdgePrediction", "LinkPrediction", "NodeClassification", "Retrieval", "TripleClassification"),
    "mmgraph.train": ("Batches", "FitConfig", "Results", "evaluate", "fit", "launch"),
    "mmgraph.schema": ("EdgeSpec", "Modality", "NodeSpec", "Schema", "TargetSpec", "view"),
    "mmgraph.translator": ("Translator",),
    "mmgraph.typing": ("Seen", "Sources"),
    "mmgraph.zero_shot": ("class_graph", "class_metrics", "class_scores", "prototypes"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = ["__version__", *sorted(_MODULE_OF)]


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(importlib.import_module(_MODULE_OF[name]), name)
    raise AttributeError(f"module 'mmgraph' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
