"""Public path of `cldtrans.data.montages.electrodes`."""

from cldtrans.data.montages.electrodes import EARS, closing_a_loop, is_bipolar, on_head, positions, scalp_pair

__all__ = ["EARS", "closing_a_loop", "is_bipolar", "on_head", "positions", "scalp_pair"]
