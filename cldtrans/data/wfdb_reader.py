"""Public path of `cldtrans.data.formats.wfdb_reader`."""

from cldtrans.data.formats.wfdb_reader import WfdbRecording, read_wfdb

__all__ = ["WfdbRecording", "read_wfdb"]
