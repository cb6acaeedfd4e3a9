"""YASA's sleep stager as it is trained: no label of ours is looked at.

Vallat & Walker 2021, eLife 10:e70092. Gradient-boosted trees on features of an epoch and of the epochs
around it, scaled over the night; the trees come with the package. They were trained on nights of the
National Sleep Research Resource (CCSHS, CFS, CHAT, HomePAP, MESA, MrOS, SHHS), of which none is Sleep-EDF.
They expect a central electrode against a mastoid; Fpz-Cz is not that, and the price is ours. Needs the extra
`sleep`.
"""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np

from cldtrans.errors import ConfigError
from cldtrans.methods.cards import Card
from cldtrans.methods.windows import LabelledWindows

EPOCH_S = 30.0
EEG = ("C4-M1", "C3-M2", "EEG Fpz-Cz", "EEG Pz-Oz")
EOG = ("E1-M2", "EOG horizontal")
STAGES = {"W": "WAKE", "N1": "N1", "N2": "N2", "N3": "N3", "R": "REM"}
"""Our names of the stages, and the package's."""


class YasaStager:
    """The `classifier` factory of the config.

    Parameters
    ----------
    task, channels
        As every classifier gets them.

    Raises
    ------
    ConfigError
        Without the package, for a task other than sleep stages, or without an EEG channel that it reads.
    """

    card = Card(
        title="YASA, zero-shot",
        source="Vallat & Walker 2021, eLife 10:e70092",
        licence="BSD-3-Clause",
        reproduced="the package's own trees and features, of EEG and EOG",
        differs="Fpz-Cz where C4-M1 is expected; no EMG, age or sex; epochs that nobody staged are left out",
        saw_test_data="unknown",
        seen="trained on seven corpora of the NSRR (eLife 10:e70092, methods); Sleep-EDF is not among them",
    )
    saw_test_data: ClassVar[dict[str, str]] = {"sleepedf": "no"}
    start = "trees of the package, trained on NSRR"

    def __init__(self, task: Any, channels: tuple[str, ...]) -> None:
        try:
            import yasa
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"no module {error.name!r}: pip install 'cldtrans[sleep]' for YASA's stager"
            ) from None
        unknown = set(task.classes) - set(STAGES)
        if unknown:
            raise ConfigError(f"YASA stages sleep; it does not know {', '.join(sorted(unknown))}")
        self._stager, self._classes = yasa.SleepStaging, tuple(task.classes)
        self._eeg, self._eog = (_first(channels, wanted) for wanted in (EEG, EOG))
        if self._eeg is None:
            raise ConfigError(
                f"YASA reads one of {', '.join(EEG)}, of which there is none; leave that dataset out"
            )
        self.version = yasa.__version__

    def fit(self, train: LabelledWindows, val: LabelledWindows) -> None:
        """Do nothing: the trees are trained."""

    def predict_proba(self, windows: LabelledWindows) -> np.ndarray:
        """Predict probabilities [n, K], night by night."""
        found = np.zeros((len(windows), len(self._classes)))
        recording = windows.shards.index["recording"].to_numpy()
        mine = recording[windows.rows]
        for name in np.unique(mine):
            night = np.flatnonzero(recording == name)
            asked = np.flatnonzero(mine == name)
            found[asked] = self._of_night(windows, night)[np.searchsorted(night, windows.rows[asked])]
        return found

    def _of_night(self, windows: LabelledWindows, rows: np.ndarray) -> np.ndarray:
        """Stage one recording by all its epochs, rows of the shard set: [epochs, K]."""
        import mne

        picked = [k for k in (self._eeg, self._eog) if k is not None]
        x = windows.of_rows(rows).signals()[:, picked]
        names = [windows.channels[k] for k in picked]
        kinds = ["eeg", "eog"][: len(picked)]
        volts = 1e-6 * x.transpose(1, 0, 2).reshape(len(picked), -1)
        raw = mne.io.RawArray(volts, mne.create_info(names, windows.rate_hz, kinds), verbose="error")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            proba = self._stager(raw, *names[:1], eog_name=next(iter(names[1:]), None)).predict().proba
        if len(proba) != len(rows):
            raise ConfigError(f"YASA stages epochs of {EPOCH_S:g} s; these windows have another length")
        return proba[[STAGES[name] for name in self._classes]].to_numpy()


def _first(channels: tuple[str, ...], wanted: tuple[str, ...]) -> int | None:
    return next((channels.index(name) for name in wanted if name in channels), None)
