"""What a process computes on."""

import numpy as np
import torch
from threadpoolctl import threadpool_info

from cldtrans.machine import limit_threads, rank, unflatten, world_size


def test_one_limit_holds_for_every_library():
    np.ones((2, 2)) @ np.ones((2, 2))
    before = torch.get_num_threads()
    try:
        for threads in (2, 1):
            limit_threads(threads)
            assert torch.get_num_threads() == threads
            assert {pool["num_threads"] for pool in threadpool_info()} <= {1, threads}
    finally:
        limit_threads(before)


def test_a_process_alone_is_the_first_of_one():
    assert rank() == 0 and world_size() == 1


def test_a_flat_buffer_goes_back_into_its_parts():
    parts = [torch.randn(2, 3), torch.randn(()), torch.randn(4).to(torch.float64)]
    flat = torch.arange(11.0)
    unflatten(flat, parts)
    assert parts[0].tolist() == [[0, 1, 2], [3, 4, 5]] and parts[1] == 6
    assert parts[2].dtype == torch.float64 and parts[2].tolist() == [7, 8, 9, 10]
