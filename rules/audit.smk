rule audit:
    """Check the run: nobody on two sides, channels and labels as in the files, metadata's floor, claims of methods."""
    input:
        config=CONFIG,
        stamps=PLAN.stamps(),
        indices=PLAN.every_shards(),
        splits=PLAN.splits(),
        results=PLAN.results(),
    output:
        PLAN.audit(),
    log:
        f"logs/{RUN}/audit.log",
    benchmark:
        f"logs/{RUN}/audit.benchmark.tsv"
    conda:
        CONDA
    resources:
        mem_mb=attempt_scaled(8000),
        runtime=attempt_scaled(120),
    params:
        code=code("audit"),
        run=RUN,
    shell:
        "python -m cldtrans audit --config {input.config:q} --shards data/{params.run:q}/shards"
        " --splits data/{params.run:q}/splits --results results/{params.run:q} --output {output:q} > {log:q} 2>&1"
