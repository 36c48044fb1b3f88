"""Models on disk and on a hub: a folder that any script can load, without the code that once put the model together.

| file | holds |
|---|---|
| ``config.json`` | of what the model is made (:mod:`mmgraph.blueprint`), and with which versions |
| ``model.safetensors`` | its weights |
| ``schema.json`` | what its graphs mean |
| ``sha256.json`` | the digests of these three |
| ``README.md`` | its card: what it reads, what it scored beside its controls, how to load it |

Nothing is unpickled, and no code of the folder's is run. A file may name classes of mmgraph, of a list of torch.nn, and
those that were registered (:func:`register`).
"""

from mmgraph.blueprint import register
from mmgraph.pretrained.agree import check_schema, schema_difference
from mmgraph.pretrained.card import Card
from mmgraph.pretrained.folder import from_pretrained, save_pretrained
from mmgraph.pretrained.hub import pull, push
from mmgraph.pretrained.runs import share

__all__ = [
    "Card",
    "check_schema",
    "from_pretrained",
    "pull",
    "push",
    "register",
    "save_pretrained",
    "schema_difference",
    "share",
]
