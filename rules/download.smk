rule write_miniature:
    """The embedded miniature of the PhysioNet bucket, with known truth."""
    output:
        "data/{run}/mirror/MINIATURE.json",
    log:
        "logs/{run}/write_miniature.log",
    benchmark:
        "logs/{run}/write_miniature.benchmark.tsv"
    conda:
        CONDA
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        code=code("miniature"),
        scale=SETTINGS.source.miniature,
    shell:
        "python -m cldtrans miniature data/{wildcards.run:q}/mirror --scale {params.scale:q} > {log:q} 2>&1"


rule download_dataset:
    """Fetch one dataset and verify every file; resumes where it stopped."""
    input:
        config=CONFIG,
        miniature=miniature,
    output:
        "data/{run}/download/{dataset}.json",
    log:
        "logs/{run}/download_dataset/{dataset}.log",
    benchmark:
        "logs/{run}/download_dataset/{dataset}.benchmark.tsv"
    conda:
        CONDA
    resources:
        mem_mb=4000,
        runtime=download_minutes,
        transfer=1,
    params:
        code=code("download"),
        settings=dataset_settings,
    shell:
        "python -m cldtrans download --config {input.config:q} --dataset {wildcards.dataset:q}"
        " --output {output:q} > {log:q} 2>&1"


rule download:
    """All raw recordings, verified."""
    input:
        PLAN.stamps(),
