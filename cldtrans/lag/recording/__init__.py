"""Lags of recordings, as a clinician asks for them: a file in, a table and two figures out."""

from cldtrans.lag.recording.lags import RecordingLags, fit_window, lags_of_recording, with_delays
from cldtrans.lag.recording.lead import lead_of
from cldtrans.lag.recording.window import Window, cut_window

__all__ = [
    "RecordingLags",
    "Window",
    "cut_window",
    "fit_window",
    "lags_of_recording",
    "lead_of",
    "with_delays",
]
