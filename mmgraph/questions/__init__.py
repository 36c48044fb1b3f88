"""Questions over graphs: answered along facts, by vectors, or by a model that reads the part they are about.

| step | what does it |
|---|---|
| whom is it about? | :class:`Names` links a text to entities |
| what is around them? | :func:`near` (PageRank), :func:`joined` (Steiner tree); :func:`induced` cuts it out |
| in words | :func:`told`, facts as lines for a text model |
| an exact answer | :class:`Facts` follows a :class:`Query` along the facts that are written down |
| a plausible answer | :func:`plausible`, by a trained :class:`mmgraph.Linker`, along facts that are not |
| a learned answer | :class:`Follower` reads off the question which relations to take; :class:`Answers` judges |
| agreement | :class:`Signed`, messages that a denial turns round |
"""

from mmgraph.questions.answers import Answers, ask
from mmgraph.questions.facts import Facts, draw_queries
from mmgraph.questions.follower import Follower, Walked
from mmgraph.questions.linking import Mention, Names
from mmgraph.questions.plausible import plausible, rank_answers
from mmgraph.questions.query import Path, Query, path
from mmgraph.questions.retrieve import found_share, induced, joined, near, told
from mmgraph.questions.signed import Signed

__all__ = [
    "Answers",
    "Facts",
    "Follower",
    "Mention",
    "Names",
    "Path",
    "Query",
    "Signed",
    "Walked",
    "ask",
    "draw_queries",
    "found_share",
    "induced",
    "joined",
    "near",
    "path",
    "plausible",
    "rank_answers",
    "told",
]
