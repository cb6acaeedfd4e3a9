rule score_identifiability:
    """Recover the lags and edges of one simulated world."""
    input:
        config=CONFIG,
        source=source("evaluation/identifiability.py", "lag/fit/ldsem.py", "lag/simulate.py", "lag/bounds.py"),
    output:
        "results/{run}/identifiability/{dataset}/{method}/budget-0/seed-{seed}.json",
    log:
        "logs/{run}/score_identifiability/{dataset}/{method}/seed-{seed}.log",
    conda:
        CONDA
    threads: SETTINGS.threads
    resources:
        mem_mb=attempt_scaled(4000),
        runtime=attempt_scaled(30),
    params:
        settings=world_settings,
    shell:
        "python -m cldtrans identifiability --config {input.config} --world {wildcards.dataset}"
        " --method {wildcards.method} --seed {wildcards.seed} --threads {threads}"
        " --output {output} > {log} 2>&1"


rule identifiability:
    """Recovery of known lags, against the Cramér–Rao bound."""
    input:
        results_of("identifiability"),
