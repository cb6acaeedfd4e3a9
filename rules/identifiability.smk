rule score_identifiability:
    """Recover the lags and edges of one simulated world."""
    input:
        config=CONFIG,
    output:
        "results/{run}/identifiability/{dataset}/{method}/budget-0/seed-{seed}.json",
    log:
        "logs/{run}/score_identifiability/{dataset}/{method}/seed-{seed}.log",
    benchmark:
        "logs/{run}/score_identifiability/{dataset}/{method}/seed-{seed}.benchmark.tsv"
    conda:
        CONDA
    threads: SETTINGS.threads
    resources:
        mem_mb=attempt_scaled(4000),
        runtime=attempt_scaled(30),
    params:
        code=code("identifiability", "identifiability"),
        settings=cell_settings("identifiability"),
    shell:
        "python -m cldtrans identifiability --config {input.config:q} --world {wildcards.dataset:q}"
        " --method {wildcards.method:q} --seed {wildcards.seed:q} --threads {threads}"
        " --output {output:q} > {log:q} 2>&1"


rule identifiability:
    """Recovery of known lags, against the Cramér–Rao bound."""
    input:
        PLAN.results("identifiability"),
