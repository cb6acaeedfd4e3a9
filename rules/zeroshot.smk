rule score_focal_lead:
    """Localize the leading channel, without labels, on recorded (zeroshot) or planted discharges, or degraded ones."""
    input:
        config=CONFIG,
        recordings=recordings_file,
        weights=checkpoint_file,
        annotations=annotation_file,
    output:
        "results/{run}/{experiment}/{dataset}/{method}/budget-0/seed-{seed}.json",
    log:
        "logs/{run}/score_focal_lead/{experiment}/{dataset}/{method}/seed-{seed}.log",
    benchmark:
        "logs/{run}/score_focal_lead/{experiment}/{dataset}/{method}/seed-{seed}.benchmark.tsv"
    wildcard_constraints:
        experiment="zeroshot|planted|lead_robustness",
    conda:
        CONDA
    threads: SETTINGS.threads
    resources:
        gpu=0,
        mem_mb=attempt_scaled(8000),
        runtime=attempt_scaled(240),
    params:
        code=code("focal-lead"),
        settings=cell_settings(),
        checkpoint=checkpoint_option,
        shards=shards_option,
    shell:
        "python -m cldtrans focal-lead --config {input.config:q} --experiment {wildcards.experiment:q}"
        " --dataset {wildcards.dataset:q} --method {wildcards.method:q} --seed {wildcards.seed:q}"
        " {params.shards:q} {params.checkpoint:q}"
        " --threads {threads} --output {output:q} > {log:q} 2>&1"


rule score_reconstruction:
    """Rank abnormal windows by how badly a pretrained model redraws them, without labels."""
    input:
        config=CONFIG,
        index="data/{run}/shards/{dataset}/index.parquet",
        split="data/{run}/splits/{dataset}/seed-{seed}.csv",
        weights="results/{run}/checkpoints/stage1/{variant}/seed-{seed}/model.safetensors",
    output:
        "results/{run}/reconstruction/{dataset}/{variant}/budget-0/seed-{seed}.json",
    log:
        "logs/{run}/score_reconstruction/{dataset}/{variant}/seed-{seed}.log",
    benchmark:
        "logs/{run}/score_reconstruction/{dataset}/{variant}/seed-{seed}.benchmark.tsv"
    conda:
        CONDA
    threads: SETTINGS.threads
    resources:
        gpu=0,
        mem_mb=attempt_scaled(8000),
        runtime=attempt_scaled(240),
    params:
        code=code("reconstruction", "reconstruction"),
        settings=cell_settings("reconstruction"),
    shell:
        "python -m cldtrans reconstruction --config {input.config:q} --dataset {wildcards.dataset:q}"
        " --method {wildcards.variant:q} --seed {wildcards.seed:q}"
        " --shards data/{wildcards.run:q}/shards/{wildcards.dataset:q} --split {input.split:q}"
        " --checkpoint results/{wildcards.run:q}/checkpoints/stage1/{wildcards.variant:q}/seed-{wildcards.seed:q}"
        " --threads {threads} --output {output:q} > {log:q} 2>&1"


rule zeroshot:
    """What our own model says without labels: focal leads, and which windows are abnormal."""
    input:
        PLAN.results("zeroshot"),
