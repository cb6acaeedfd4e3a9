"""Public path of `cldtrans.methods.features`."""

from cldtrans.methods.features import BATCH, CHANNEL_COLUMNS, batches, extract_features, features_of

__all__ = ["BATCH", "CHANNEL_COLUMNS", "batches", "extract_features", "features_of"]
