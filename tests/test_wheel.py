"""The wheel, installed outside any checkout, with third-party packages borrowed from this environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
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
    source = clone(folder / "source")
    options: list[str | Path] = ["--no-deps", "--no-build-isolation", "--wheel-dir", folder, source]
    call(sys.executable, "-m", "pip", "wheel", "--quiet", *options, cwd=folder)
    return next(folder.glob("cldtrans-*.whl"))


def clone(source: Path) -> Path:
    """Copy what git knows of the project to a folder."""
    known = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in known:
        if (PROJECT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((PROJECT / name).read_bytes())
    return source


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of programs of a fresh environment that holds the wheel alone."""
    return environment(tmp_path_factory.mktemp("environment") / "venv", wheel)


def environment(home: Path, *what: str | Path) -> Path:
    """Make an environment with one package installed; return the folder of its programs."""
    call(sys.executable, "-m", "venv", "--without-pip", home, cwd=home.parent)
    site = next(home.glob("lib/python*/site-packages"))
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    call(sys.executable, "-m", "pip", "--python", home / "bin/python", "install", "--quiet", "--no-deps",
         "--no-index", "--no-build-isolation", *what, cwd=home.parent)  # fmt: skip
    return home / "bin"


def test_the_folder_that_holds_the_clone_does_not_hide_the_package(tmp_path: Path) -> None:
    """A folder `cldtrans` in the current one would be taken for a namespace package."""
    project = clone(tmp_path / "cldtrans")
    programs = environment(tmp_path / "venv", "--editable", project)
    script = "import cldtrans; print(cldtrans.LDSEM.__module__, cldtrans.__file__)"
    where = python(programs, tmp_path, script)
    assert where.split() == ["cldtrans.interfaces.ldsem", str(project / "cldtrans" / "__init__.py")]


def test_the_core_needs_nothing_of_the_pipeline(installed: Path, tmp_path: Path) -> None:
    """Lags of arrays and files, and the model, without the packages of the extra `pipeline`."""
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = [re.split(r"[<>=\[]", name)[0].replace("-", "_") for name in extras["pipeline"]]
    make_model().save_pretrained(tmp_path / "model")
    write_two_channels(tmp_path / "two.edf")
    script = f"""
import sys
for name in {names}: sys.modules[name] = None
import numpy as np
from cldtrans import LDSEM, CLDTransFeatures, ShardSet, WindowsDataset, fit_ldsem, focal_lead
from cldtrans.cli import main
x = np.random.default_rng(0).laplace(size=(1, 2, 1600))
print(fit_ldsem(x, 160.0), LDSEM(sample_rate=160.0).fit(x), focal_lead(x, 160.0))
print(CLDTransFeatures('model', sample_rate=160.0).fit_transform(x).shape)
assert main(['lags', 'two.edf', '--reference', 'none']) == 0
sys.exit(main(['run', '--configfile', 'demo']))
"""
    output = call(installed / "python", "-c", script, cwd=tmp_path, code=2)
    assert "C3" in output and "pip install 'cldtrans[pipeline]'" in output.splitlines()[-1]


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


def write_two_channels(path: Path) -> None:
    """C3 leads C4 by 18.75 ms."""
    rng = np.random.default_rng(0)
    leader = 20 * rng.laplace(size=30 * 160)
    follower = np.roll(leader, 3) + 6 * rng.laplace(size=30 * 160)
    signals = [EdfSignal(name, x, 160, (-500, 500)) for name, x in (("C3", leader), ("C4", follower))]
    path.write_bytes(edf_bytes(signals))


def test_lags_of_a_file(installed: Path, tmp_path: Path) -> None:
    write_two_channels(tmp_path / "two.edf")
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
    assert output == "cldtrans run: a run needs Snakemake: pip install 'cldtrans[pipeline]'\n"
