"""A small sample of what benchmarks/fuzz.py tries."""

import importlib.util
import sys

import pytest
from toys.paths import PROJECT

COUNTS = {"edf": 700, "bdf": 300, "wfdb": 500, "config": 60, "table": 40, "checkpoint": 40}


@pytest.fixture(scope="module")
def fuzz():
    folder = str(PROJECT / "benchmarks")
    sys.path.insert(0, folder)
    try:
        spec = importlib.util.spec_from_file_location("fuzz", PROJECT / "benchmarks" / "fuzz.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules["fuzz"] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
        module.alarm()
        module.watch = module.Watch()
        yield module
        module.watch.enabled = False
    finally:
        sys.path.remove(folder)


@pytest.mark.parametrize("kind", COUNTS)
def test_damaged_inputs_are_refused_in_one_line_or_read(fuzz, kind: str) -> None:
    tally = fuzz.explore(kind, COUNTS[kind], seed=1, watch=fuzz.watch)
    assert tally.failures == []
    assert tally.inputs == COUNTS[kind] and tally.refused > 0 and tally.read > 0
