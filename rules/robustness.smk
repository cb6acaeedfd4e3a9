rule score_robustness:
    """Score a fitted model on degraded recordings of held-out subjects."""
    input:
        config=CONFIG,
        index="data/{run}/shards/{dataset}/index.parquet",
        split="data/{run}/splits/{dataset}/seed-{seed}.csv",
        weights="results/{run}/checkpoints/stage1/{variant}/seed-{seed}/model.safetensors",
        features="results/{run}/features/{dataset}/{variant}/seed-{seed}.npz",
    output:
        "results/{run}/robustness/{dataset}/{variant}/budget-{budget}/seed-{seed}.json",
    log:
        "logs/{run}/score_robustness/{dataset}/{variant}/budget-{budget}/seed-{seed}.log",
    benchmark:
        "logs/{run}/score_robustness/{dataset}/{variant}/budget-{budget}/seed-{seed}.benchmark.tsv"
    conda:
        CONDA
    threads: SETTINGS.threads
    resources:
        gpu=0,
        mem_mb=attempt_scaled(8000),
        runtime=attempt_scaled(240),
    params:
        code=code("robustness", "robustness"),
        settings=cell_settings("robustness"),
    shell:
        "python -m cldtrans robustness --config {input.config:q} --dataset {wildcards.dataset:q}"
        " --method {wildcards.variant:q} --budget {wildcards.budget:q} --seed {wildcards.seed:q}"
        " --shards data/{wildcards.run:q}/shards/{wildcards.dataset:q} --split {input.split:q}"
        " --checkpoint results/{wildcards.run:q}/checkpoints/stage1/{wildcards.variant:q}/seed-{wildcards.seed:q}"
        " --features {input.features:q} --threads {threads} --output {output:q} > {log:q} 2>&1"


rule robustness:
    """Scores on degraded recordings."""
    input:
        PLAN.results("robustness"),
