"""Lobe and side of channels by name."""

from toys.discharges import CHANNELS

from cldtrans.scoring.regions import lobe_of, side_of


def test_regions_of_the_montage():
    assert lobe_of("F7-T7") == lobe_of("EEG T3") == lobe_of("FP1-F7") == lobe_of("P8-O2") == "temporal"
    assert lobe_of("FP1-F3") == lobe_of("Fz..") == "frontal"
    assert lobe_of("C3-P3") == "central"
    assert side_of("F7-T7") == "left"
    assert side_of("FP2-F8") == "right"
    assert side_of("FZ-CZ") == "midline"
    assert side_of("O1-O2") is None
    assert all(lobe_of(name) and side_of(name) for name in CHANNELS)
