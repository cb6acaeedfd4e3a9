"""A small sample of what benchmarks/fuzz.py tries."""

from collections.abc import Iterator

import fuzz
import pytest

COUNTS = {"edf": 400, "bdf": 200, "wfdb": 300, "mne": 150, "config": 40, "table": 15, "checkpoint": 12}


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
