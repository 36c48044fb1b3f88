"""How long a command takes to start: `mmgraph --help`, in processor seconds, beside Python doing nothing."""

import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from measure import main, row

MOST_S = 0.1


def seconds(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def rows() -> list[dict[str, Any]]:
    script = str(Path(sys.executable).parent / "mmgraph")
    turns = [(seconds([script, "--help"]), seconds([sys.executable, "-c", "pass"])) for _ in range(9)]
    ours, bare = (statistics.median(values) for values in zip(*turns[1:], strict=True))
    assert ours < MOST_S, f"mmgraph --help must take less than {MOST_S} s of the processor, got {ours:.3f}"
    return [row("mmgraph --help", ours, note=f"less than {MOST_S} s is asked; Python doing nothing takes {bare:.3f} s")]


if __name__ == "__main__":
    main(rows)
