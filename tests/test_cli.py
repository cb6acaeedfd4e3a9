"""The command line's own words: what people need comes first, and a shell can complete it."""

import re
import subprocess

import pytest

from cldtrans.cli import BESIDE, COMMANDS, EXAMPLES, main


def test_people_find_their_commands_first(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    named = re.findall(r"^  ([a-z][a-z0-9-]+) +\S", shown.split("To begin with:")[1], re.MULTILINE)
    assert named[: len(EXAMPLES)] == ["lags", "run", "doctor"] and set(named) - {"cldtrans"} == set(COMMANDS)
    assert shown.index("Jobs") > max(shown.index(f"  {name} ") for name in (*EXAMPLES, *BESIDE))
    assert all(example in shown for example in EXAMPLES.values())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cldtrans la", ["lags"]),
        ("cldtrans lags x.edf --ref", ["--reference"]),
        ("cldtrans check-dataset --m", ["--most"]),
    ],
)
def test_a_shell_completes_commands_and_options(line, expected, capsys):
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    words = line.split(" ")
    asked = f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _cldtrans; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-c", f"{script}\n{asked}"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == expected
