"""Public path of `cldtrans.data.formats.edf`."""

from cldtrans.data.formats.edf import Annotation, EdfRecording, LONGEST_GAP_S, MICROVOLT, read_edf

__all__ = ['Annotation', 'EdfRecording', 'LONGEST_GAP_S', 'MICROVOLT', 'read_edf']
