"""`cldtrans verify` reads every finished file of a run and names those that changed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toys.paths import PROJECT
from toys.shards import write_shards

from cldtrans.cli import main
from cldtrans.config import load_any
from cldtrans.data.splits import write_split
from cldtrans.files import write_sums
from cldtrans.planning.plan import Plan
from cldtrans.provenance import write_result
from cldtrans.verify import verify_run

CONFIG = PROJECT / "config/tiny.yaml"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A few finished files of the tiny plan."""
    monkeypatch.chdir(tmp_path)
    plan = Plan(load_any([CONFIG]))
    index = pd.DataFrame({"subject": ["a", "b"], "recording": ["r", "s"]})
    windows = np.zeros((2, 2, 8), dtype=np.float32)
    for name in ("chbmit", "ptbxl"):
        folder = Path(plan.shards(name)).parent
        write_shards(folder, windows, index, channels=("x", "y"), sample_rate=8.0, task=None)
    write_split(Path(plan.splits()[0]), pd.DataFrame({"subject": ["a"], "split": ["train"]}))
    weights = Path(plan.checkpoints(1)[0])
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"weights")
    write_sums(weights.parent, [weights.name])
    counts = {"train": 1, "val": 1, "test": 1, "subjects": {"train": 1, "val": 1, "test": 1}}
    cell = next(cell for cell in plan.cells if cell.experiment == "fewshot")
    write_result(
        cell.path("tiny"), experiment="fewshot", dataset=cell.dataset, method=cell.method, budget=cell.budget,
        seed=cell.seed, metrics={"auroc": 0.5}, n=counts, chance={"auroc": 0.5}, config_sha256="0" * 64,
    )  # fmt: skip
    return tmp_path


def test_an_untouched_run_passes_and_says_what_is_not_there_yet(run, capsys):
    assert main(["verify", "--config", str(CONFIG)]) == 0
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()[2:]}
    assert rows["shards"][1:] == ["2", "0"] and rows["splits"] == ["1", "0", "0"]
    assert rows["weights"][::2] == ["1", "0"] and rows["results"][0] == "1"


@pytest.mark.parametrize("kind", ["splits", "weights", "results"])
def test_what_changed_is_named(run, capsys, kind):
    pattern = {"splits": "seed-*.csv", "weights": "*.safetensors", "results": "fewshot/**/seed-*.json"}[kind]
    path = next(run.rglob(pattern))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert main(["verify", "--config", str(CONFIG)]) == 2
    printed = capsys.readouterr()
    assert path.name in printed.out and "1 files are not what was written" in printed.err
    assert [one.kind for one in verify_run(load_any([CONFIG])) if one.problems] == [kind]
