import threading

import numpy as np
import torch

from mmgraph.data.sampling.memory import SMALL, Recycler

FLOATS = np.dtype(np.float32)
ROWS = SMALL // 4 // 64


def test_memory_comes_back_when_nothing_holds_it():
    recycler = Recycler()
    one = recycler.empty((ROWS, 64), FLOATS)
    address = one.ctypes.data
    tensor = torch.from_numpy(one).view(torch.int32)
    view = tensor[3:, 1]
    del one, tensor
    other = recycler.empty((ROWS, 64), FLOATS)
    assert other.ctypes.data != address  # the view still holds it
    del view
    again = recycler.empty((ROWS, 64), FLOATS)
    assert again.ctypes.data == address
    third = recycler.empty((ROWS, 64), FLOATS)
    assert third.ctypes.data not in (address, other.ctypes.data)


def test_storages_exports_and_reshapes_hold_it_too():
    recycler = Recycler()
    holders = [
        lambda a: torch.from_numpy(a).untyped_storage(),
        lambda a: torch.from_numpy(a).flatten().numpy()[5:],
        lambda a: memoryview(a.reshape(-1)),
        lambda a: torch.utils.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(torch.from_numpy(a))),
        lambda a: a.T[1],
    ]
    for hold in holders:
        array = recycler.empty((ROWS, 64), FLOATS)
        address = array.ctypes.data
        held = hold(array)
        del array
        assert recycler.empty((ROWS, 64), FLOATS).ctypes.data != address
        del held


def test_a_block_is_used_for_what_nearly_fills_it_alone():
    recycler = Recycler()
    addresses = set()
    for rows in (8 * ROWS, 7 * ROWS, 6 * ROWS):
        addresses.add(recycler.empty((rows, 64), FLOATS).ctypes.data)
    assert len(addresses) == 1
    assert recycler.empty((ROWS, 64), FLOATS).ctypes.data not in addresses
    larger = recycler.empty((20 * ROWS, 64), FLOATS)
    larger[:] = 1
    assert larger.shape == (20 * ROWS, 64)


def test_small_empty_and_odd_arrays_are_given():
    recycler = Recycler()
    assert recycler.empty((0, 5), FLOATS).shape == (0, 5)
    assert recycler.empty((SMALL, 0), FLOATS).shape == (SMALL, 0)
    assert recycler.empty((3,), np.dtype(bool)).dtype == np.bool_
    assert recycler.empty((SMALL + 1,), np.dtype(bool)).nbytes == SMALL + 1


def test_only_so_many_blocks_wait():
    recycler = Recycler(keep=2)
    arrays = [recycler.empty((ROWS, 64), FLOATS) for _ in range(5)]
    del arrays
    assert len(recycler._free) == 2


def test_threads_never_get_the_same_memory():
    recycler, wrong = Recycler(), []

    def work(value):
        for turn in range(200):
            array = recycler.empty((ROWS, 64), FLOATS)
            array[:: ROWS // 7] = value
            if not (array[:: ROWS // 7] == value).all():
                wrong.append((value, turn))

    threads = [threading.Thread(target=work, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
