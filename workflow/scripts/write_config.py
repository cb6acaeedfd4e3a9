"""Write the resolved settings of a run, as every job reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cldtrans.provenance import write_json

if TYPE_CHECKING:
    snakemake: Any

if __name__ == "__main__":
    write_json(snakemake.output[0], snakemake.params.settings)
