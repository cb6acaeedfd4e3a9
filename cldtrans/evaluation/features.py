"""Public path of `cldtrans.methods.features`."""

from cldtrans.methods.features import BATCH, batches, extract_features

__all__ = ["BATCH", "batches", "extract_features"]
