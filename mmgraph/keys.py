"""The names of weights in a ``state_dict``, for modules that keep one a node type, modality or relation."""


def weight_key(*names: str) -> str:
    """The key of a node type, or of an edge type given as its three names.

    PyTorch allows neither dots nor the names of a module's own methods as keys; brackets rule both out.

    Example:
        >>> weight_key("blood.v2"), weight_key("scan", "of", "patient")
        ('[blood·v2]', '[scan of patient]')
    """
    return f"[{' '.join(names)}]".replace(".", "·")
