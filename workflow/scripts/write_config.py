"""Write the resolved settings of a run, as every job reads them."""

from cldtrans.provenance import write_json

if __name__ == "__main__":
    write_json(snakemake.output[0], snakemake.params.settings)
