"""Objectives: ``objective(model, graph) -> terms``, the scalars that training makes small.

| objective | learns from | prefer it when |
|---|---|---|
| :class:`Supervised` | labels, through the fused answer | modalities interact |
| :class:`Late` | labels, each modality for itself | few rows, many columns |
| :class:`Several` | labels of several targets | targets that help each other |
| :class:`Reconstruct` | the payloads, some of them hidden | few labels; modalities missing later |
| :class:`Latent` | its own slow copy, which sees what is hidden from it | no labels, and payloads full of noise |
| :class:`Contrast` | views of one anchor, found among those of all (CLIP) | modalities in pairs; large batches |
| :class:`TwoViews` | two changed versions of each anchor (SimCLR) | one modality, and changes that keep the meaning |
| :class:`GDT` | changes to be told, and changes not to be | what changes mean is known |
| :class:`CoCLR` | neighbours in the other modality | modalities that agree in what they show |
| :class:`Margin` | views of one anchor, nearer than others by a margin | one side is fixed, or neighbours are known |
| :class:`Grounded` | texts, alike where their pictures are | many texts fit one picture |
| :class:`RegionWords` | views of one anchor, by which of their nodes go together | which goes with which matters |
| :class:`Correlate` | views of one anchor, correlated as a whole | few pairs, and what they share is sought |
| :class:`SkipGram` | walks: who is close to whom in the graph | no labels; edges that mean something |
| :class:`SelfLabel` | clusters of given sizes, labelled by the model itself | no labels; views that share clusters |
| :class:`Links` | facts, above what is no fact | a knowledge graph is to be completed |
| :class:`Translate` | payloads of hidden nodes, from those around them | one modality is to be made from others |
| :class:`SelfCritical` | what its own texts are worth, by CIDEr | a decoder of texts is trained, and to be better |
| :class:`Weighted` | several objectives, each with its weight | labels and reconstruction together |
"""

from mmgraph.objectives.base import Objective
from mmgraph.objectives.contrast import Contrast
from mmgraph.objectives.correlate import Correlate
from mmgraph.objectives.late import Late
from mmgraph.objectives.latent import Latent
from mmgraph.objectives.links import Links
from mmgraph.objectives.margin import Grounded, Margin
from mmgraph.objectives.reconstruct import Reconstruct
from mmgraph.objectives.region_words import RegionWords
from mmgraph.objectives.self_critical import SelfCritical
from mmgraph.objectives.self_label import SelfLabel
from mmgraph.objectives.several import Several
from mmgraph.objectives.skip_gram import SkipGram
from mmgraph.objectives.supervised import Supervised
from mmgraph.objectives.translate import Translate
from mmgraph.objectives.versions import GDT, CoCLR, TwoViews
from mmgraph.objectives.weighted import Weighted

__all__ = [
    "GDT",
    "CoCLR",
    "Contrast",
    "Correlate",
    "Grounded",
    "Late",
    "Latent",
    "Links",
    "Margin",
    "Objective",
    "Reconstruct",
    "RegionWords",
    "SelfCritical",
    "SelfLabel",
    "Several",
    "SkipGram",
    "Supervised",
    "Translate",
    "TwoViews",
    "Weighted",
]
