"""The estimators obey scikit-learn's rules, and give what the library's own calls give."""

import mne
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from toys.model import make_model
from toys.shards import write_shards
from toys.windows import rhythms

from cldtrans import LDSEM, CLDTransFeatures, ShardSet, fit_ldsem
from cldtrans.interfaces import features, ldsem
from cldtrans.lag import simulate_ldsem


@pytest.fixture(scope="module")
def world():
    return simulate_ldsem(3, 30.0, 90.0, edges_per_node=1.0, lag_range_s=(0.02, 0.08), seed=1)


def failed(estimator):
    found = check_estimator(estimator, on_fail=None, on_skip=None)
    return {one["check_name"]: one["exception"] for one in found if one["status"] == "failed"}


def test_scikit_learns_checks_of_lags_fail_only_for_want_of_samples():
    """They fit 10 to 50 samples, too few for a lag: the refusal is a ValueError that says so."""
    wrong = failed(LDSEM(tau_max=0.02, sample_rate=100.0))
    reasons = ("too short", "more are needed", "n_features = 1", "raised ValueError unexpectedly")
    assert not {name: str(e) for name, e in wrong.items() if not any(r in str(e) for r in reasons)}


def test_scikit_learns_checks_of_lags_pass_where_the_samples_are_enough(monkeypatch):
    """The same checks, and all of them, with their few samples repeated until a fit is possible."""

    def repeated(x, *args, **settings):
        x = np.asarray(x, dtype=float)
        x = np.tile(x, -(-400 // x.shape[-1]))
        return fit_ldsem(x + np.random.default_rng(0).normal(size=x.shape), *args, **settings)

    monkeypatch.setattr(ldsem, "fit_ldsem", repeated)
    assert failed(LDSEM(tau_max=0.02, sample_rate=100.0, max_order=2)) == {}


def test_the_estimator_is_the_fit(world):
    found, fit = LDSEM(0.1, sample_rate=90.0).fit(world.x), fit_ldsem(world.x, 90.0, 0.1)
    np.testing.assert_array_equal(found.tau_, fit.tau)
    np.testing.assert_array_equal(found.support_, world.support)
    assert found.n_features_in_ == 3 and not hasattr(found, "feature_names_in_")


def test_rows_of_two_dimensions_are_samples(world):
    flat = pd.DataFrame(world.x[0].T, columns=["a", "b", "c"])
    found = LDSEM(0.1, sample_rate=90.0).fit(flat)
    np.testing.assert_array_equal(found.tau_, fit_ldsem(world.x[:1], 90.0, 0.1).tau)
    assert list(found.feature_names_in_) == ["a", "b", "c"] == found.result_.channels


def test_epochs_bring_rate_and_names(world):
    names = ["Fp1-F7", "F7-T7", "T7-P7"]
    epochs = mne.EpochsArray(world.x * 1e-6, mne.create_info(names, 90.0, "eeg"), verbose="ERROR")
    found = LDSEM(0.1).fit(epochs)
    np.testing.assert_array_equal(found.support_, world.support)
    assert list(found.feature_names_in_) == names
    with pytest.raises(ValueError, match="give sample_rate"):
        LDSEM(0.1).fit(world.x)


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.mark.filterwarnings("ignore:Can't test estimator")  # of three dimensions, beyond the first rules
def test_scikit_learns_checks_of_features(model):
    assert failed(CLDTransFeatures(model, sample_rate=160.0)) == {}


def test_features_are_the_models(model):
    x = rhythms(5)._x
    mask = np.ones(x.shape[:2], dtype=bool)
    out = model.read(x, 160.0, mask, "eeg").pooled.numpy()
    found = CLDTransFeatures(model, sample_rate=160.0, batch_size=2)
    np.testing.assert_allclose(found.fit_transform(x), out, atol=1e-5)
    names = found.get_feature_names_out()
    assert len(names) == out.shape[1] and len(set(names)) == len(names)


def test_features_of_epochs_and_shards_are_those_of_their_microvolts(model, tmp_path):
    windows = rhythms(4)
    names = ["C3", "C4", "Cz"]
    epochs = mne.EpochsArray(windows._x * 20e-6, mne.create_info(names, 160.0, "eeg"), verbose="ERROR")
    index = pd.DataFrame({"subject": list("abcd"), "recording": list("abcd")})
    folder = write_shards(
        tmp_path / "shards", windows._x, index, channels=tuple(names), sample_rate=160.0, task=None
    )
    plain = CLDTransFeatures(model, sample_rate=160.0, channels=names).transform(windows._x * 20)
    for other in (epochs, ShardSet(folder)):
        np.testing.assert_allclose(CLDTransFeatures(model).transform(other), plain, rtol=1e-3, atol=1e-3)


def test_features_stand_in_pipelines(model):
    windows = rhythms(60)
    line = make_pipeline(CLDTransFeatures(model, sample_rate=160.0), StandardScaler(), LogisticRegression())
    assert cross_val_score(clone(line), windows._x, windows.y, cv=2).mean() > 0.8


def test_the_model_that_is_shipped_is_the_default(monkeypatch, model, tmp_path):
    model.save_pretrained(tmp_path)
    monkeypatch.setattr(features, "SHIPPED", str(tmp_path))
    monkeypatch.setattr(features, "shipped_names", lambda: [str(tmp_path)])
    x = np.random.default_rng(0).standard_normal((1, 2, 320))
    plain = CLDTransFeatures(model, sample_rate=160.0).transform(x)
    np.testing.assert_allclose(CLDTransFeatures(sample_rate=160.0).transform(x), plain, atol=1e-5)


def test_without_a_model_a_warning_says_that_the_weights_are_random(monkeypatch):
    monkeypatch.setattr(features, "shipped_names", lambda: [])
    x = np.random.default_rng(0).standard_normal((1, 2, 320))
    with pytest.warns(UserWarning, match="random weights"):
        one = CLDTransFeatures(sample_rate=160.0).fit_transform(x)
    with pytest.warns(UserWarning, match="random weights"):
        np.testing.assert_array_equal(one, CLDTransFeatures(sample_rate=160.0).fit_transform(x))


@pytest.mark.parametrize(
    ("x", "message"),
    [(np.ones((4, 320)), r"expected numbers \[windows, channels, samples\]"),
     (np.full((1, 2, 320), np.nan), "NaN or infinity")],
)  # fmt: skip
def test_other_input_is_refused_in_a_line(model, x, message):
    with pytest.raises(ValueError, match=message):
        CLDTransFeatures(model, sample_rate=160.0).transform(x)
