"""Public path of `cldtrans.data.fetch.sources`."""

from cldtrans.data.fetch.sources import (
    CHUNK_BYTES,
    HEADS,
    REGION,
    MirrorSource,
    Outcome,
    Retry,
    S3Source,
    Source,
    open_source,
)

__all__ = [
    "CHUNK_BYTES",
    "HEADS",
    "REGION",
    "MirrorSource",
    "Outcome",
    "Retry",
    "S3Source",
    "Source",
    "open_source",
]
