"""The double banana formed by name from whatever a recording has."""

import numpy as np
import pytest

from cldtrans.data.montages.montage import DOUBLE_BANANA, apply_recipe, bipolar_recipe, derivation, electrode


@pytest.mark.parametrize(
    ("label", "pair"),
    [
        ("Fc5.", ("FC5", "")),
        ("EEG Fp1-REF", ("FP1", "REF")),
        ("eeg T3-T5", ("T7", "P7")),
        ("FP1-F7#2", ("FP1", "F7")),
        ("Cz", ("CZ", "")),
        ("--0", None),
        ("C3-", None),
        (".", None),
    ],
)
def test_labels_name_an_electrode_and_its_reference(label, pair):
    assert derivation(label) == pair


@pytest.mark.parametrize("form", ["{0}-{1}", "{1}-{0}", "EEG {0}-CS2 ", "{0}..", "EEG {0}-Ref"])
def test_every_channel_is_a_difference_of_electrodes_however_they_are_given(form):
    rng = np.random.default_rng(0)
    names = sorted({name for pair in DOUBLE_BANANA for name in pair.split("-")})
    potential = dict(zip(names, rng.standard_normal((len(names), 50)), strict=True))
    if "{1}" in form:
        labels = [form.format(*pair.split("-")) for pair in DOUBLE_BANANA]
        x = [np.subtract(*(potential[electrode(name)] for name in label.split("-"))) for label in labels]
    else:
        common = rng.standard_normal(50)
        labels, x = [form.format(name) for name in names], [potential[name] - common for name in names]
    found = apply_recipe(np.array(x, np.float32), bipolar_recipe(labels, DOUBLE_BANANA))
    for row, pair in zip(found, DOUBLE_BANANA, strict=True):
        plus, minus = pair.split("-")
        np.testing.assert_allclose(row, potential[plus] - potential[minus], atol=1e-6)


def test_what_cannot_be_formed_is_zero_and_the_first_of_equal_labels_counts():
    recipe = bipolar_recipe(["F3-A1", "C3-A2", "F4-REF", "C4-REF", "C4-REF"], ("F3-C3", "F4-C4"))
    assert recipe == [(-1, None, 0.0), (2, 3, 1.0)]
    assert apply_recipe(np.ones((5, 4), np.float32), recipe).tolist() == [[0] * 4, [0] * 4]
