"""Public path of `cldtrans.data.fetch.download`."""

from cldtrans.data.fetch.download import SAVE_EVERY_S, SPARE, WORKERS, download

__all__ = ["SAVE_EVERY_S", "SPARE", "WORKERS", "download"]
