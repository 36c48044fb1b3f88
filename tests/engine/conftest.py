"""What the tests of the engine share: a small graph of films with plots, posters, years and studios, written or not."""

import io

import pyarrow as pa
import pytest
from PIL import Image

from mmgraph.assembly import GraphConfig, Source, build_graph
from mmgraph.encoders import FeatureCache

FIELDS = {
    "nodes": {
        "film": {
            "table": "films",
            "key": "id",
            "columns": {"plot": "text", "poster": "image", "year": "numeric", "note": "keep", "lost": "text"},
        },
        "studio": {"table": "studios", "key": "name", "columns": {"about": "text"}},
    },
    "edges": [
        {"type": ["film", "before", "film"], "column": "next"},
        {"type": ["film", "by", "studio"], "column": "studio"},
    ],
    "anchor": "film",
    "encoders": {"words": {"kind": "hashed_text", "options": {"channels": 12}}},
}
for _column in ("plot", "lost"):
    FIELDS["nodes"]["film"]["columns"][_column] = {"modality": "text", "encoder": "words"}
FIELDS["nodes"]["studio"]["columns"]["about"] = {"modality": "text", "encoder": "words"}


def _png(red: int, green: int = 0, blue: int = 0) -> bytes:
    file = io.BytesIO()
    picture = Image.new("RGB", (16, 16), (red, green, blue))
    picture.paste((255 - red, 128, blue), (0, 0, 4 + red % 9, 8))
    picture.save(file, "PNG")
    return file.getvalue()


FILMS = {
    "id": ["rain", "heist", "moon", "cat", "dog", "storm"],
    "plot": [
        ["A dog runs in the rain.", "Rain falls all night."],
        ["Two thieves meet in a bank."],
        ["A rocket flies to the moon."],
        ["A cat sleeps near a fire."],
        ["A dog and a cat share a house."],
        [],
    ],
    "poster": [_png(10), _png(90), None, _png(200, 7), _png(12), _png(90)],
    "year": ["1950", "1972", "1969", None, "1999", "2001"],
    "note": ["old", "good", None, "good", "new", "new"],
    "next": ["storm", None, "rain", None, "cat", "heist"],
    "studio": ["acme", "acme", "bolt", None, "bolt", "acme"],
    "lost": ["rain", None, None, None, None, "rain and storm"],
}
STUDIOS = {"name": ["acme", "bolt"], "about": ["Acme makes thrillers.", "Bolt makes stories of space and of pets."]}


@pytest.fixture(scope="session")
def png():
    """Gives the bytes of a picture."""
    return _png


@pytest.fixture(scope="session")
def tables():
    """Gives the columns of the table of films."""
    return FILMS


@pytest.fixture(scope="session")
def make(tmp_path_factory):
    """Builds the graph of some films."""
    cache = FeatureCache(tmp_path_factory.mktemp("cache"))

    def build(films=FILMS, encoders=None):
        types = {"plot": pa.list_(pa.string()), "poster": pa.binary()}
        table = pa.table({name: pa.array(values, types.get(name, pa.string())) for name, values in films.items()})
        source = Source(GraphConfig(**FIELDS), {"films": table, "studios": pa.table(STUDIOS)})
        return build_graph(source, cache=cache, encoders=encoders)

    return build


@pytest.fixture(scope="session")
def films(make):
    """The graph of all films, in memory."""
    return make()
