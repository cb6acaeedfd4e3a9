"""Public path of `cldtrans.data.formats.edf`."""

from cldtrans.data.formats.edf import LONGEST_GAP_S, Annotation, EdfRecording, read_edf

__all__ = ["LONGEST_GAP_S", "Annotation", "EdfRecording", "read_edf"]
