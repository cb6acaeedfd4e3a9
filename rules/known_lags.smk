rule score_known_lags:
    """Lags, directions or sources that physics or clinicians know, by one method."""
    input:
        config=CONFIG,
        recordings=known_files,
    output:
        "results/{run}/known_lags/{dataset}/{method}/budget-0/seed-{seed}.json",
    log:
        "logs/{run}/score_known_lags/{dataset}/{method}/seed-{seed}.log",
    benchmark:
        "logs/{run}/score_known_lags/{dataset}/{method}/seed-{seed}.benchmark.tsv"
    conda:
        CONDA
    threads: SETTINGS.threads
    resources:
        mem_mb=attempt_scaled(4000),
        runtime=attempt_scaled(60),
    params:
        code=code("known-lags", "known_lags"),
        settings=cell_settings("known_lags"),
    shell:
        "python -m cldtrans known-lags --config {input.config:q} --dataset {wildcards.dataset:q}"
        " --method {wildcards.method:q} --seed {wildcards.seed:q} --threads {threads}"
        " --output {output:q} > {log:q} 2>&1"


rule known_lags:
    """Lags against physics: microphones, rivers, muscle; and an onset zone."""
    input:
        PLAN.results("known_lags"),
