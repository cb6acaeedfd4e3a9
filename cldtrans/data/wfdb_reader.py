"""Public path of `cldtrans.data.formats.wfdb_reader`."""

from cldtrans.data.formats.wfdb_reader import (
    ELSEWHERE,
    FORMAT,
    GAIN,
    INVALID,
    WfdbRecording,
    read_wfdb,
)

__all__ = ["ELSEWHERE", "FORMAT", "GAIN", "INVALID", "WfdbRecording", "read_wfdb"]
