"""Which encoder made a feature."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property

from pydantic import JsonValue

from mmgraph.schema.record import Spec


class Identity(Spec):
    """Which encoder made a feature: equal identities give equal features for equal payloads.

    Args:
        name: Of the model or the method, as its hub or its folder names it.
        revision: Which state of it: a commit, the digest of its files or of what it was fitted on, or the version of
            the method.
        options: What else changes the features.

    Example:
        >>> one = Identity(name="all-MiniLM-L6-v2", revision="8b3219a", options={"precision": "float32"})
        >>> one.digest == Identity(name="all-MiniLM-L6-v2", revision="8b3219a").digest
        False
    """

    name: str
    revision: str
    options: dict[str, JsonValue] = {}

    @cached_property
    def digest(self) -> str:
        """Sha256 of all of it, in hex; the order of the options does not matter."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True, ensure_ascii=True).encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.name}@{self.revision[:12]}"
