"""Every example runs as it stands, in an empty folder, and says what it promises."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from toys.paths import PROJECT

PROMISES = {
    "lags_of_a_recording": "2 lag: the interval lies above zero",
    "fit_and_bound": "edges found, 0 false",
    "own_dataset": "signals [n, C, T]: (24, 2, 1600)",
    "own_method": "auroc",
}


def test_every_example_is_run() -> None:
    assert {path.stem for path in (PROJECT / "examples").glob("*.py")} == set(PROMISES)


@pytest.mark.parametrize(("name", "promise"), PROMISES.items())
def test_an_example_runs_and_is_short(name: str, promise: str, tmp_path: Path) -> None:
    script = PROJECT / "examples" / f"{name}.py"
    assert len(script.read_text().splitlines()) < 65
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert promise in done.stdout
