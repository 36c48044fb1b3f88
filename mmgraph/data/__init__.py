"""What graphs are made from, how they are kept, and how they are read: in batches, or sampled from a large one."""

from mmgraph.data.collection import Collection, OutOfRangeError
from mmgraph.data.columns.columns import Column, Columns
from mmgraph.data.columns.payload import PayloadKey, Stream
from mmgraph.data.columns.writer import ColumnsWriter
from mmgraph.data.corrupt import Corrupt
from mmgraph.data.csc import Csc, open_csc, save_csc
from mmgraph.data.fact_loader import FactLoader
from mmgraph.data.fill import fill
from mmgraph.data.graph_file import load_graph, save_graph
from mmgraph.data.literals import tabulate, untabulate
from mmgraph.data.loader import Loader
from mmgraph.data.manifest import Manifest, dataset_names, load_dataset
from mmgraph.data.missing import ModalityDropout, drop_modalities
from mmgraph.data.noise import FeatureNoise
from mmgraph.data.pairs import NewPairs
from mmgraph.data.records import Records
from mmgraph.data.sample_loader import NeighbourLoader
from mmgraph.data.sampler import NeighbourSampler, Sampled
from mmgraph.data.sampling.seeds import LinkSeeds, NodeSeeds
from mmgraph.data.split import Split, stratified_split
from mmgraph.data.triple_files import read_triples, write_triples
from mmgraph.data.triples import BrokenLine, Triples
from mmgraph.data.walks import Walker
from mmgraph.data.writer import CollectionWriter

__all__ = [
    "BrokenLine",
    "Collection",
    "CollectionWriter",
    "Column",
    "Columns",
    "ColumnsWriter",
    "Corrupt",
    "Csc",
    "FactLoader",
    "FeatureNoise",
    "LinkSeeds",
    "Loader",
    "Manifest",
    "ModalityDropout",
    "NeighbourLoader",
    "NeighbourSampler",
    "NewPairs",
    "NodeSeeds",
    "OutOfRangeError",
    "PayloadKey",
    "Records",
    "Sampled",
    "Split",
    "Stream",
    "Triples",
    "Walker",
    "dataset_names",
    "drop_modalities",
    "fill",
    "load_dataset",
    "load_graph",
    "open_csc",
    "read_triples",
    "save_csc",
    "save_graph",
    "stratified_split",
    "tabulate",
    "untabulate",
    "write_triples",
]
