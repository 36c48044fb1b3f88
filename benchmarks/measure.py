"""How speed is measured: ours and its peers in turns in one process, on one thread, medians of processor time.

Processor time, not the clock on the wall: what else the machine does falls away, and a second thread is not free.
"""

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from mmgraph.train.record import commit

Work = Callable[[], object]
TURN_S = 0.3


def measure(
    name: str,
    ours: Work,
    peers: Mapping[str, tuple[Work, float | None]],
    *,
    bound: Work | None = None,
    rounds: int = 7,
    note: str = "",
) -> list[dict[str, Any]]:
    """One row a peer: how many times its processor time ours fits in.

    The caller has checked that all give the same result.

    Args:
        name: What is done, with its sizes.
        ours: Our way of doing it.
        peers: Name of a peer → its way, and the least ratio that we promise (``None`` for none).
        bound: What no way can do without (the bytes, the matrix products).
        rounds: How often all run in turns; the first turn warms up and does not count. In a turn, what takes less than
            a third of a second runs several times, so that it does not pay for the caches that the others have filled.
        note: What else the reader must know.
    """
    works: dict[str, Work] = {"ours": ours, **{peer: work for peer, (work, _) in peers.items()}}
    if bound is not None:
        works["bound"] = bound
    repeat = dict.fromkeys(works, 1)
    times: dict[str, list[float]] = {key: [] for key in works}
    for turn in range(rounds + 1):
        for key, work in works.items():
            started = time.process_time()
            for _ in range(repeat[key]):
                work()
            seconds = (time.process_time() - started) / repeat[key]
            if turn > 0:
                times[key].append(seconds)
            else:
                repeat[key] = max(1, round(TURN_S / seconds)) if seconds else 1000
    middle = {key: statistics.median(values) for key, values in times.items()}
    return [
        row(name, middle["ours"], peer=(peer, middle[peer]), at_least=least, bound=middle.get("bound"), note=note)
        for peer, (_, least) in peers.items()
    ]


def row(
    name: str,
    ours: float,
    *,
    peer: tuple[str, float] | None = None,
    at_least: float | None = None,
    bound: float | None = None,
    note: str = "",
) -> dict[str, Any]:
    """What is reported of one comparison, or of one figure that stands alone."""
    return {
        "name": name,
        "ours": ours,
        "peer": peer and peer[1],
        "peer_name": peer and peer[0],
        "ratio": peer and round(peer[1] / ours, 2),
        "at_least": at_least,
        "bound_ratio": round(peer[1] / bound, 2) if peer and bound else None,
        "unit": "processor seconds",
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "note": note,
        "command": f"python {sys.argv[0]}",
        "commit": commit(),
    }


def main(rows: Callable[[], list[dict[str, Any]]]) -> None:
    """Runs one benchmark by itself, and prints its rows as JSON."""
    torch.set_num_threads(1)
    sys.stdout.write(json.dumps(rows(), indent=2) + "\n")
