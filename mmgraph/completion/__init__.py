"""Completion: any modality that a sample lacks, made from those that it has, and marked as made.

What is made hangs on its anchor as a node type of its own, ``<modality>_generated``, whose spec says which model made
it (:attr:`NodeSpec.generated <mmgraph.schema.NodeSpec>`). It is no modality of the anchor, so models, controls, sweeps
and searches go on seeing data alone; who wants it names it.
"""

from mmgraph.completion.complete import Completed, CompletionConfig, complete, generated_name
from mmgraph.completion.report import CompletionReport

__all__ = ["Completed", "CompletionConfig", "CompletionReport", "complete", "generated_name"]
