"""Public path of `cldtrans.data.montages.montage`."""

from cldtrans.data.montages.montage import DOUBLE_BANANA, apply_recipe, bipolar_recipe, derivation, electrode

__all__ = ["DOUBLE_BANANA", "apply_recipe", "bipolar_recipe", "derivation", "electrode"]
