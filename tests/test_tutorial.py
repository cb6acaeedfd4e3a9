"""The tutorial runs from its own text, in its order: a recording, its lags, its page."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from toys.paths import PROJECT

from cldtrans.cli import main

PAGE = PROJECT / "docs" / "tutorial.md"


def test_the_tutorial_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    names: dict[str, Any] = {}
    for language, block in blocks:
        if language == "python":
            exec(compile(block, PAGE.name, "exec"), names)
        else:  # cldtrans lags recording.edf ...
            assert main(shlex.split(block)[1:]) == 0
    page = (tmp_path / "lags" / "lags.html").read_text()
    assert "not a medical device" in page.lower()
    assert 'src="http' not in page
