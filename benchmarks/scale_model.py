"""What a graph costs, from 10⁵ to 10¹⁰ edges: bytes, hours and machines, from constants that `scale.py` measures.

The graph is that of `scale.py`: ten edges of three types a node, 128 float32 channels a node, half of the nodes are
seeds, fan-out [4, 2]. All seconds are processor seconds of one core; what several share is divided evenly, so real runs
are slower by what they wait for each other.
"""

import math
from dataclasses import dataclass

CHANNELS = 128
EDGES_A_NODE = 10
SEEDS_A_NODE = 0.5
ROW_BYTES = 4 * CHANNELS
BOOK_BYTES = 4
"""A node, where it lies; twice that from 2³¹ nodes on."""
SCRATCH_BYTES = 4
"""A node, in every process that samples; twice that from 2³⁰ nodes on."""
SIZES = tuple(10**power for power in range(5, 11))
WAYS = ("memory", "mapped", "ddp", "parts")


@dataclass(frozen=True)
class Constants:
    """What was measured.

    Attributes:
        encode_s: Encoding one short text.
        write_byte_s: Writing one byte of a collection.
        sort_edge_s: Sorting one edge by its target.
        seed_s: One seed of an epoch: drawing, gathering and learning.
        far_seed_s: What a seed costs more, at both ends, where half of the nodes are in another process.
        cut_byte_s: Copying one byte into a piece, the sorting of edges included.
        metis_edge_s: Finding parts with METIS, an edge.
        metis_edge_bytes: Memory for that, an edge.
        base_bytes: Memory of a process that has read nothing yet.
        far_seed_bytes: What goes over the network for a seed, where half of the nodes are in another process.
    """

    encode_s: float
    write_byte_s: float
    sort_edge_s: float
    seed_s: float
    far_seed_s: float
    cut_byte_s: float
    metis_edge_s: float
    metis_edge_bytes: float
    base_bytes: float
    far_seed_bytes: float


@dataclass(frozen=True)
class Machine:
    """One of equal machines."""

    memory_bytes: float = 64e9
    cores: int = 16


@dataclass(frozen=True)
class Cost:
    """What a graph costs in one way.

    Attributes:
        fits: Whether the memory of the machines suffices.
        machines: How many there are.
        processes: That train, on each.
        memory_bytes: Needed on each machine.
        epoch_s: By the clock, where nothing waits.
        network_bytes: An epoch, all machines together.
    """

    fits: bool
    machines: int
    processes: int
    memory_bytes: float
    epoch_s: float
    network_bytes: float


def disk_bytes(edges: float) -> float:
    """A collection: 8 bytes an edge, the features and, for half of the nodes, a label."""
    return edges * 8 + edges / EDGES_A_NODE * (ROW_BYTES + 8 * SEEDS_A_NODE)


def sorted_bytes(edges: float) -> float:
    """Sorted edges: source and column of each, and where the edges of each target begin."""
    return edges * (8 if edges < 1 << 31 else 16) + edges / EDGES_A_NODE * 12


def sort_peak_bytes(edges: float) -> float:
    """What sorting takes beside the result: of the largest type, half of all edges, two ends and three orders."""
    return edges / 2 * 44


def encode_s(edges: float, constants: Constants, cores: int = 1) -> float:
    """Encoding a text a node; Ray divides it among cores."""
    return edges / EDGES_A_NODE * constants.encode_s / cores


def build_s(edges: float, constants: Constants) -> float:
    """Writing the collection, and sorting its edges once."""
    return disk_bytes(edges) * constants.write_byte_s + edges * constants.sort_edge_s


def cut_s(edges: float, constants: Constants, *, metis: bool) -> float:
    """Cutting it into parts."""
    return disk_bytes(edges) * constants.cut_byte_s + metis * edges * constants.metis_edge_s


def cost(edges: float, way: str, constants: Constants, *, machine: Machine | None = None, far: float = 0.3) -> Cost:
    """What training costs in one of the ways.

    Args:
        edges: Of the graph.
        way: ``"memory"``: one process, everything in its memory. ``"mapped"``: one process, features mapped from disk.
            ``"ddp"``: a process a core on one machine, all mapped from the same files. ``"parts"``: as many machines
            as hold edges and features in their memory together.
        constants: What was measured.
        machine: What the machines are.
        far: Share of drawn neighbours that are on other machines; METIS finds .05 to .3 where a graph has communities,
            and random parts have ``1 - 1 / machines``.

    Raises:
        ValueError: There is no such way.
    """
    if way not in WAYS:
        raise ValueError(f"way must be one of {WAYS}, got {way!r}")
    machine = machine or Machine()
    nodes = edges / EDGES_A_NODE
    process = constants.base_bytes + nodes * (SCRATCH_BYTES if nodes < 1 << 30 else 2 * SCRATCH_BYTES)
    shared = sorted_bytes(edges)
    seeds_s = nodes * SEEDS_A_NODE * constants.seed_s
    if way in ("memory", "mapped"):
        memory = process + shared + (sort_peak_bytes(edges) if way == "mapped" else disk_bytes(edges))
        return Cost(memory <= machine.memory_bytes, 1, 1, memory, seeds_s, 0.0)
    processes = max(1, min(machine.cores, math.floor(machine.memory_bytes / 2 / process)))
    if way == "ddp":
        memory = shared + processes * process
        return Cost(memory <= machine.memory_bytes, 1, processes, memory, seeds_s / processes, 0.0)
    each = processes * process + nodes * (BOOK_BYTES if nodes < 1 << 31 else 2 * BOOK_BYTES)
    left = machine.memory_bytes - each
    whole = shared + nodes * ROW_BYTES
    machines = max(2, math.ceil(whole / left)) if left > 0 else 2
    seeds = nodes * SEEDS_A_NODE
    epoch = (seeds_s + seeds * constants.far_seed_s * far / 0.5) / (machines * processes)
    memory = each + whole / machines
    network = seeds * constants.far_seed_bytes * far / 0.5
    return Cost(memory <= machine.memory_bytes, machines, processes, memory, epoch, network)


def table(constants: Constants) -> str:
    """What the page shows."""
    machine = Machine()
    lines = [
        "| edges | on disk | sorted edges | encode, 1 core | encode, 16 cores | build | cut, METIS | METIS memory |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for edges in SIZES:
        metis = edges * constants.metis_edge_bytes
        cells = [
            _bytes(disk_bytes(edges)),
            _bytes(sorted_bytes(edges)),
            _time(encode_s(edges, constants)),
            _time(encode_s(edges, constants, machine.cores)),
            _time(build_s(edges, constants)),
            _time(cut_s(edges, constants, metis=True)),
            _bytes(metis),
        ]
        lines.append(f"| 10{_power(edges)} | {' | '.join(cells)} |")
    lines += [
        "",
        "| edges | in memory: memory, epoch | mapped: memory, epoch | DDP, 1 machine: memory, epoch "
        "| parts: machines, memory of each, epoch, network an epoch |",
        "|---|---|---|---|---|",
    ]
    for edges in SIZES:
        cells = []
        for way in WAYS:
            found = cost(edges, way, constants, machine=machine)
            cell = f"{_bytes(found.memory_bytes)}, {_time(found.epoch_s)}"
            if way == "parts":
                cell = f"{found.machines} × {cell}, {_bytes(found.network_bytes)}"
            cells.append(cell if found.fits else f"too large ({_bytes(found.memory_bytes)})")
        lines.append(f"| 10{_power(edges)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _power(edges: int) -> str:
    return "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(round(math.log10(edges))))


def _bytes(count: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1e6:.3g} MB"


def _time(seconds: float) -> str:
    for unit, size in (("days", 2 * 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / (86400 if unit == 'days' else size):.3g} {unit}"
    return f"{seconds:.2g} s"
