"""A user's table of focal channels: read by name, refused by line."""

import pytest
from toys.discharges import CHANNELS

from cldtrans.errors import DataError
from cldtrans.evaluation.annotations import read_annotations

HEADER = "case,file,seizure,channels,source,rater\n"


def test_annotations_are_read_by_name(tmp_path):
    path = tmp_path / "focal.csv"
    path.write_text(
        HEADER + "chb01,chb01_03.edf,1,F7-T3;FP1-F7,paper,A\nchb01,chb01_03.edf,1,T7-F7,paper,B\n"
    )
    found = read_annotations(path, CHANNELS)
    assert found == {
        ("chb01_03", 1): [{CHANNELS.index("F7-T7"), CHANNELS.index("FP1-F7")}, {CHANNELS.index("F7-T7")}]
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,file,seizure,channels,source\n", "no column 'rater'"),
        ("", "no column 'case'"),
        (HEADER + "chb01,chb01_03.edf,1,F7-XX,paper,A\n", "line 2: unknown channel 'F7-XX'"),
        (HEADER + "chb01,chb01_03.edf,0,F7-T7,paper,A\n", "line 2: seizure '0'"),
        (HEADER + "chb01,chb01_03.edf,one,F7-T7,paper,A\n", "line 2: seizure 'one'"),
        (
            HEADER + "chb02,chb01_03.edf,1,F7-T7,paper,A\n",
            "line 2: file 'chb01_03.edf' is not one of case 'chb02'",
        ),
        (HEADER + "chb01,chb01_03.edf,1,,paper,A\n", "line 2: no channel"),
        (HEADER + "chb01,chb01_03.edf,1\n", "line 2: 3 values for 6 columns"),
    ],
)
def test_annotation_errors_name_line_and_cause(tmp_path, text, message):
    path = tmp_path / "focal.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_annotations(path, CHANNELS)
