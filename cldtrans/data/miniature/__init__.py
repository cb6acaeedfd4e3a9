"""A miniature PhysioNet bucket: nine corpora in their real formats, with signals whose truth is known.

`write_miniature` lays the datasets out under a folder as the public bucket does, ``<slug>/<version>/...``, so
that the ordinary download and preprocessing steps run on it unchanged. What was planted (leading channels,
lags, broken files) lies beside them in ``truth/``. numpy is needed, and scipy and h5py for CODE-15 %.
"""

from cldtrans.data.miniature.bucket import write_miniature
from cldtrans.data.miniature.scales import SCALES

__all__ = ["SCALES", "write_miniature"]
