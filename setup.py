"""The build copies what the workflow needs into the package; all else stands in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PROJECT = Path(__file__).resolve().parent
PARTS = ("Snakefile", "config", "rules", "workflow", "profiles", "envs")


class BuildWithWorkflow(build_py):
    """Puts the top-level folders beside the modules, where `cldtrans.files.project_folder` finds them."""

    def run(self) -> None:
        """Build, and copy the folders where this is no editable install."""
        super().run()
        if self.editable_mode:  # a checkout has them around the package
            return
        target = Path(self.build_lib, "cldtrans", "_project")
        shutil.rmtree(target, ignore_errors=True)
        for part in PARTS:
            source, copy = PROJECT / part, target / part
            copy.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", ".*"))
            else:
                shutil.copy2(source, copy)


setup(cmdclass={"build_py": BuildWithWorkflow})
