"""What an engine keeps beside the graph that it searches; one small file says what counts.

| under ``search/`` | is written | holds |
|---|---|---|
| ``state.json`` | anew by every write, in one step | the state |
| ``base-<generation>/`` | once | a graph, compacted; none as long as the graph in the folder itself counts |
| ``change-<generation>/`` | once | anchors that were added, updated and deleted together |
| ``index-<generation>/`` | once | what finds the nodes of the base without a look at all of them |

A write first removes what the state that it starts from does not name, such as what a killed writer has left. So a
reader that is opening has a whole write's time to read; what is gone all the same was replaced by something newer.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from mmgraph.errors import ArtifactError
from mmgraph.files import read_json, write_json

FORMAT = "mmgraph.search/1"
BESIDE = "search"  # the folder within the graph's


@dataclass(frozen=True)
class State:
    """What counts of an engine's files.

    Args:
        graph: Digest of the graph that the folder held when the engine was made.
        schema: Fingerprint of its schema.
        kind: How the nodes of the base are found.
        model: Digest of the model that embeds, empty for none.
        run: The folder of the run that the model is from, empty if it was given.
        text_weight: The share of the words in the value of a match of texts.
        generation: How many writes there were.
        base: Its folder; empty for the graph itself.
        index: Its folder; empty where all nodes are looked at.
        changes: Folders of what was added, updated and deleted since, in order.
    """

    graph: str
    schema: str
    kind: str = "exact"
    model: str = ""
    run: str = ""
    text_weight: float = 0.0
    generation: int = 0
    base: str = ""
    index: str = ""
    changes: tuple[str, ...] = ()


def read_state(folder: Path) -> State | None:
    """The state of the engine beside a graph; ``None`` if there is none.

    Raises:
        ArtifactError: The file is damaged, or of another format.
    """
    path = folder / BESIDE / "state.json"
    if not path.is_file():
        return None
    found = read_json(path)
    if not isinstance(found, dict) or found.pop("format", None) != FORMAT:
        raise ArtifactError(f"File {str(path)!r} must be of the format {FORMAT}; index the graph again")
    try:
        return State(**{**found, "changes": tuple(found["changes"])})
    except (TypeError, KeyError) as error:
        raise ArtifactError(f"File {str(path)!r} must say what counts, but {error!r}; index the graph again") from None


def write_state(folder: Path, state: State) -> None:
    """Makes a state count."""
    write_json(folder / BESIDE / "state.json", {"format": FORMAT, **asdict(state)})


def sweep(folder: Path, state: State | None) -> None:
    """Removes what a state does not name; who calls it must be the only writer."""
    named = {state.base, state.index, *state.changes} if state is not None else set()
    for path in (folder / BESIDE).iterdir():
        if path.is_dir() and path.name not in named:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def writing(folder: Path, wait_s: float = 60.0) -> Iterator[None]:
    """Keeps other writers out.

    Raises:
        ArtifactError: Another one has been at work for longer than ``wait_s``.
    """
    (folder / BESIDE).mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / BESIDE / ".lock", thread_local=False)
    try:
        lock.acquire(timeout=wait_s)
    except Timeout:
        raise ArtifactError(
            f"Folder {str(folder)!r} must have one writer at a time, and another has been at work for {wait_s:g} s; "
            "try again"
        ) from None
    try:
        yield
    finally:
        lock.release()
