"""The metrics of all tasks, and which way each of them is better."""

from mmgraph.errors import ConfigError

HIGHER_IS_BETTER = {
    "accuracy": True,
    "balanced_accuracy": True,
    "f1": True,
    "f1_macro": True,
    "f1_weighted": True,
    "auroc": True,
    "correlation": True,
    "brier": False,
    "ece": False,
    "log_loss": False,
    "mae": False,
    "recall@1": True,
    "recall@5": True,
    "recall@10": True,
    "median_rank": False,
    "mrr": True,
    "hits@1": True,
    "hits@3": True,
    "hits@10": True,
    "hits@20": True,
    "hits@50": True,
    "hits@100": True,
    "average_precision": True,
    "mean_rank": False,
    "adjusted_mean_rank_index": True,
    "class_map": True,
    "class_precision@1": True,
    "class_precision@10": True,
    "zero_shot_accuracy": True,
    "zero_shot_class_accuracy": True,
    "nmi": True,
    "ari": True,
    "purity": True,
    "cluster_accuracy": True,
    "perplexity": False,
    "exact_match": True,
    "bleu": True,
    "bleu@1": True,
    "rouge_l": True,
    "meteor": True,
    "cider": True,
    "retrieval@1": True,
    "retrieval@10": True,
    "error": False,
    "accepted": True,
    "diversity": True,
    "frechet": False,
    "triple_precision": True,
    "triple_recall": True,
    "triple_f1": True,
}


def higher_is_better(metric: str) -> bool:
    """Whether more of a metric is better; that of a pair of views (``"recall@1 image>text"``) or group is the same.

    Raises:
        ConfigError: There is no such metric.

    Example:
        >>> higher_is_better("accuracy"), higher_is_better("median_rank image>text")
        (True, False)
    """
    name = metric.partition(" ")[0]
    if name not in HIGHER_IS_BETTER:
        raise ConfigError(f"Metric must be one of {sorted(HIGHER_IS_BETTER)}, got {metric!r}")
    return HIGHER_IS_BETTER[name]
