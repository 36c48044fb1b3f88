"""Why a model says what it says: a score taken apart by modality, relation, node and edge.

:func:`ask` makes a :class:`Question` of a model, a graph and an anchor; a method answers it with an
:class:`Attribution`.

| method | takes apart | adds up to the score | costs |
|---|---|---|---|
| :func:`shapley` | modalities and relations | exactly | 2^n forward passes of a small graph, n ≤ 12 |
| :func:`integrated_gradients` | nodes, channels and edges | within a tolerance that is checked | 16 to 1024 gradients |
| :func:`occlusion` | parts, nodes and edges, one at a time | no: the residual says by how much | a pass each |
| :func:`attention` | nodes and edges, of models that attend | no: shares of attention, not of the score | a pass |

:func:`sanity` says whether an attribution is about the model: it must change when the weights are shuffled.
"""

from mmgraph.explain.attention import Attends, attention
from mmgraph.explain.attribution import Attribution
from mmgraph.explain.cases import Case, Cases, explain_cases
from mmgraph.explain.gradients import integrated_gradients
from mmgraph.explain.occlusion import occlusion, shapley, shapley_values
from mmgraph.explain.question import Question, ask
from mmgraph.explain.sanity import Sanity, rank_correlation, sanity

__all__ = [
    "Attends",
    "Attribution",
    "Case",
    "Cases",
    "Question",
    "Sanity",
    "ask",
    "attention",
    "explain_cases",
    "integrated_gradients",
    "occlusion",
    "rank_correlation",
    "sanity",
    "shapley",
    "shapley_values",
]
