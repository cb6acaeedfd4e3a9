"""The CLD-Trans network: motifs, lag inference, graph ODE, heads."""

from cldtrans.models.cldtrans import CLDTrans
from cldtrans.models.output import Output

__all__ = ["CLDTrans", "Output"]
