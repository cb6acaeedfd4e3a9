"""The trained sleep stager: nights are put together, stages get their names, no label is looked at."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from toys.nights import STAGES, Nights

from cldtrans.baselines.yasa_stager import YasaStager
from cldtrans.data.base import Task
from cldtrans.errors import ConfigError
from cldtrans.methods.windows import LabelledWindows

TASK = Task("sleep_stage", "multiclass", STAGES)
CHANNELS = ("EEG Fpz-Cz", "EEG Pz-Oz", "EOG horizontal")


class Stager:
    """Stands in for the package's: an epoch's probabilities are its mean in microvolts, by stage."""

    def __init__(self, raw, eeg_name, *, eog_name=None):
        self.x = 1e6 * raw.get_data([eeg_name, eog_name])
        self.size = round(30 * raw.info["sfreq"])

    def predict(self):
        return SimpleNamespace(proba=self.probabilities())

    def probabilities(self):
        level = self.x[0].reshape(-1, self.size).mean(1) - 100 * (not np.allclose(self.x[1], 7))
        return pd.DataFrame({name: level + k for k, name in enumerate(("N1", "N2", "N3", "REM", "WAKE"))})


@pytest.fixture
def package(monkeypatch):
    module = ModuleType("yasa")
    vars(module).update(SleepStaging=Stager, __version__="0")
    monkeypatch.setitem(sys.modules, "yasa", module)


def test_epochs_keep_their_place_in_the_night(package):
    nights = Nights((4, 3), 3000, channels=CHANNELS)
    nights.x[:] = np.arange(7)[:, None, None]
    nights.x[:, 2] = 7
    windows = LabelledWindows(nights, np.array([1, 2, 6]))
    stager = YasaStager(TASK, CHANNELS)
    stager.fit(windows, windows)
    found = stager.predict_proba(windows)
    np.testing.assert_allclose(found[:, STAGES.index("N1")], [1, 2, 6], rtol=1e-6)
    np.testing.assert_allclose(found[:, STAGES.index("W")], [5, 6, 10], rtol=1e-6)


def test_what_it_cannot_read_it_says(package):
    with pytest.raises(ConfigError, match="it does not know no, yes"):
        YasaStager(Task("seizure", "binary", ("no", "yes")), CHANNELS)
    with pytest.raises(ConfigError, match="leave that dataset out"):
        YasaStager(TASK, ("FP1-F7",))
    with pytest.raises(ConfigError, match="another length"):
        night = Nights((6,), 1000, channels=CHANNELS)
        YasaStager(TASK, CHANNELS).predict_proba(night.all())


def test_the_package_itself_stages_a_night():
    pytest.importorskip("yasa", reason="the extra sleep is not installed")
    night = Nights((24,), 3000, channels=CHANNELS)
    night.x *= 20
    found = YasaStager(TASK, CHANNELS).predict_proba(night.all())
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    without = pytest.MonkeyPatch()
    with without.context() as patch:
        patch.setitem(sys.modules, "yasa", None)
        with pytest.raises(ConfigError, match=r"cldtrans\[sleep\]"):
            YasaStager(TASK, CHANNELS)
