"""A small sample of what benchmarks/fuzz.py tries."""

from collections.abc import Iterator

import fuzz
import pytest

COUNTS = {"edf": 700, "bdf": 300, "wfdb": 500, "config": 60, "table": 40, "checkpoint": 40}


@pytest.fixture(scope="module")
def watch() -> Iterator[fuzz.Watch]:
    fuzz.alarm()
    watch = fuzz.Watch()
    yield watch
    watch.enabled = False


@pytest.mark.parametrize("kind", COUNTS)
def test_damaged_inputs_are_refused_in_one_line_or_read(watch: fuzz.Watch, kind: str) -> None:
    tally = fuzz.explore(kind, COUNTS[kind], seed=1, watch=watch)
    assert tally.failures == []
    assert tally.inputs == COUNTS[kind] and tally.refused > 0 and tally.read > 0
