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
        "python -m cldtrans robustness --config {input.config} --dataset {wildcards.dataset}"
        " --method {wildcards.variant} --budget {wildcards.budget} --seed {wildcards.seed}"
        " --shards data/{wildcards.run}/shards/{wildcards.dataset} --split {input.split}"
        " --checkpoint results/{wildcards.run}/checkpoints/stage1/{wildcards.variant}/seed-{wildcards.seed}"
        " --features {input.features} --threads {threads} --output {output} > {log} 2>&1"


rule robustness:
    """Scores on degraded recordings."""
    input:
        PLAN.results("robustness"),
