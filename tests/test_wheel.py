"""The wheel, installed outside any checkout, with third-party packages borrowed from this environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pytest
from toys.model import make_model
from toys.paths import PROJECT

from cldtrans.data.miniature.edf_writer import EdfSignal, edf_bytes

pytestmark = pytest.mark.slow


def call(*command: str | Path, cwd: Path, code: int = 0) -> str:
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("CLDTRANS_", "PYTHON", "SNAKEMAKE"))
    }
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
    output = done.stdout + done.stderr
    assert done.returncode == code, output[-4000:]
    return output


def python(programs: Path, cwd: Path, script: str) -> str:
    return call(programs / "python", "-c", script, cwd=cwd)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from what git knows, in a folder of its own, so that nothing built before gets in."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    known = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in known:
        if (PROJECT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((PROJECT / name).read_bytes())
    options: list[str | Path] = ["--no-deps", "--no-build-isolation", "--wheel-dir", folder, source]
    call(sys.executable, "-m", "pip", "wheel", "--quiet", *options, cwd=folder)
    return next(folder.glob("cldtrans-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of programs of a fresh environment that holds the wheel alone."""
    home = tmp_path_factory.mktemp("environment") / "venv"
    call(sys.executable, "-m", "venv", "--without-pip", home, cwd=home.parent)
    site = next(home.glob("lib/python*/site-packages"))
    call(sys.executable, "-m", "pip", "--python", home / "bin/python", "install", "--quiet", "--no-deps",
         "--no-index", wheel, cwd=home.parent)  # fmt: skip
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin"


def test_the_wheel_holds_what_the_workflow_needs(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for part in ("config", "rules", "workflow", "profiles", "envs"):
        for path in (PROJECT / part).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert f"cldtrans/_project/{path.relative_to(PROJECT).as_posix()}" in names
    assert "cldtrans/_project/Snakefile" in names and "cldtrans/py.typed" in names
    assert not {name for name in names if "__pycache__" in name or name.startswith(("tests/", "benchmarks/"))}


def test_the_command_line_and_the_front_door(installed: Path, tmp_path: Path) -> None:
    version = call(installed / "cldtrans", "--version", cwd=tmp_path)
    assert version == python(installed, tmp_path, "import cldtrans; print(cldtrans.__version__)")
    assert "who leads whom" in call(installed / "cldtrans", "--help", cwd=tmp_path)
    where = python(installed, tmp_path, "import cldtrans; print(cldtrans.__file__)")
    assert Path(where.strip()).is_relative_to(installed.parent)
    assert "device-hours" in call(installed / "cldtrans", "estimate", "--config", "demo", cwd=tmp_path)


def test_lags_of_a_file(installed: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    leader = 20 * rng.laplace(size=30 * 160)
    follower = np.roll(leader, 3) + 6 * rng.laplace(size=30 * 160)
    signals = [EdfSignal(name, x, 160, (-500, 500)) for name, x in (("C3", leader), ("C4", follower))]
    (tmp_path / "two.edf").write_bytes(edf_bytes(signals))
    output = call(installed / "cldtrans", "lags", "two.edf", "--reference", "none", cwd=tmp_path)
    assert re.search(r"C3 +(→|->)? *C4 +18\.\d", output), output


def test_a_pretrained_model_is_loaded(installed: Path, tmp_path: Path) -> None:
    make_model().save_pretrained(tmp_path / "model")
    script = (
        "import torch; from cldtrans import CLDTrans; model = CLDTrans.from_pretrained('model').eval(); "
        "print(model(torch.randn(1, 4, 320), 160.0, modality='eeg').tau.shape)"
    )
    assert "[1, 4, 4]" in python(installed, tmp_path, script)


def test_a_run_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    command: list[str | Path] = [
        installed / "cldtrans",
        "run",
        "--no-report",
        "--configfile",
        "tiny",
        "--cores",
        "2",
    ]
    output = call(*command, "-n", "--quiet", "rules", cwd=tmp_path)
    script = (
        "from cldtrans.config import load_any; from cldtrans.planning.plan import Plan; "
        "plan = Plan(load_any(['tiny'])); "
        "print(*plan.closure(plan.roots('fewshot', 'ptbxl', 'inception_time', 'fewshot')))"
    )
    assert {name.split(".")[0] for name in python(installed, tmp_path, script).split()} == {"cldtrans"}
    assert "score_fewshot" in output and "total" in output
    shards = "data/tiny/shards/ptbxl/index.parquet"
    call(*command, shards, cwd=tmp_path)
    assert (tmp_path / shards).is_file()


def test_without_snakemake_one_line_says_what_to_install(installed: Path, tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['snakemake'] = None; from cldtrans.cli import main; sys.exit(main(['run']))"
    )
    output = call(installed / "python", "-c", script, cwd=tmp_path, code=2)
    assert output == "cldtrans run: a run needs Snakemake: pip install 'cldtrans[workflow]'\n"
