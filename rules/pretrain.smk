rule train_stage1:
    """Pretrain one variant without labels."""
    input:
        config=CONFIG,
        indices=stage1_indices,
    output:
        weights="results/{run}/checkpoints/stage1/{variant}/seed-{seed}/model.safetensors",
        model="results/{run}/checkpoints/stage1/{variant}/seed-{seed}/config.json",
        history="results/{run}/checkpoints/stage1/{variant}/seed-{seed}/training.json",
    log:
        "logs/{run}/train_stage1/{variant}/seed-{seed}.log",
    benchmark:
        "logs/{run}/train_stage1/{variant}/seed-{seed}.benchmark.tsv"
    conda:
        CONDA
    threads: SETTINGS.threads
    resources:
        gpu=0,
        procs=1,
        mem_mb=attempt_scaled(16000),
        runtime=attempt_scaled(1440),
    params:
        code=code("train-stage1"),
        settings=variant_settings,
        threads_each=lambda wildcards, threads, resources: max(1, threads // resources.procs),
    shell:
        "python -m cldtrans train-stage1 --config {input.config:q} --variant {wildcards.variant:q}"
        " --seed {wildcards.seed:q} --shards data/{wildcards.run:q}/shards"
        " --log-dir logs/{wildcards.run:q}/tensorboard/stage1/{wildcards.variant:q}/seed-{wildcards.seed:q}"
        " --output results/{wildcards.run:q}/checkpoints/stage1/{wildcards.variant:q}/seed-{wildcards.seed:q}"
        " --threads {params.threads_each} --procs {resources.procs} --code {params.code:q} > {log:q} 2>&1"


rule stage1:
    """Every pretrained model that the plan needs."""
    input:
        PLAN.checkpoints(1),
