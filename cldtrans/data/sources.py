"""Public path of `cldtrans.data.fetch.sources`."""

from cldtrans.data.fetch.sources import CHUNK_BYTES, HEADS, MirrorSource, Outcome, REGION, Retry, S3Source, Source, open_source

__all__ = ['CHUNK_BYTES', 'HEADS', 'MirrorSource', 'Outcome', 'REGION', 'Retry', 'S3Source', 'Source', 'open_source']
