"""Methods by name: what the config says is built, what it cannot say is refused with a hint."""

import pytest
from toys.shards import paper_config

from cldtrans.errors import ConfigError
from cldtrans.methods.factories import FINE_TUNED, PROBED, READOUTS, build, configured, spec_of


def test_a_factory_is_called_with_its_settings():
    assert build("fractions:Fraction", 3, denominator=4) * 4 == 3


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("no_such_package.x:F", "no module 'no_such_package'; install it"),
        ("fractions:Fractoin", "fractions has no 'Fractoin'.*Fraction"),
    ],
)
def test_what_cannot_be_imported_is_named(spec, message):
    with pytest.raises(ConfigError, match=message):
        build(spec)


def test_a_role_has_its_factory():
    config = paper_config()
    found = configured(config, "feature_linear", "classifier")
    assert found is not None and found[0] == spec_of(config, "feature_linear", "classifier")
    assert configured(config, "cldtrans", "classifier") is None
    assert spec_of(config, "cldtrans", "readout") == READOUTS
    tuned, probed = (paper_config(stage2={"finetune_steps": steps}) for steps in (5, 0))
    assert spec_of(tuned, "cldtrans", "classifier") == FINE_TUNED
    assert spec_of(probed, "cldtrans", "classifier") == PROBED
    for spec in (READOUTS, FINE_TUNED, PROBED):
        module, _, name = spec.partition(":")
        assert hasattr(__import__(module, fromlist=[name]), name)


@pytest.mark.parametrize(
    ("name", "role", "message"),
    [
        ("cldtrans", "estimator", "estimates lags of windows, not of a system"),
        ("feature_liner", "classifier", "unknown method 'feature_liner'.*feature_linear"),
        ("feature_linear", "readout", "has no readout; methods with one: .*gcc_phat"),
    ],
)
def test_a_role_that_a_method_does_not_have(name, role, message):
    with pytest.raises(ConfigError, match=message):
        spec_of(paper_config(), name, role)
