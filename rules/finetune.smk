rule train_stage2:
    """Fit one head a task, with all training labels, on a pretrained model; and train it on them, if asked."""
    input:
        config=CONFIG,
        weights="results/{run}/checkpoints/stage1/{variant}/seed-{seed}/model.safetensors",
        indices=[PLAN.shards(dataset) for dataset in SETTINGS.stage2.datasets],
        features=[
            f"results/{RUN}/features/{dataset}/{{variant}}/seed-{{seed}}.npz"
            for dataset in SETTINGS.stage2.datasets
        ],
        splits=[f"data/{RUN}/splits/{dataset}/seed-{{seed}}.csv" for dataset in SETTINGS.stage2.datasets],
    output:
        weights="results/{run}/checkpoints/stage2/{variant}/seed-{seed}/model.safetensors",
        model="results/{run}/checkpoints/stage2/{variant}/seed-{seed}/config.json",
        history="results/{run}/checkpoints/stage2/{variant}/seed-{seed}/training.json",
    log:
        "logs/{run}/train_stage2/{variant}/seed-{seed}.log",
    benchmark:
        "logs/{run}/train_stage2/{variant}/seed-{seed}.benchmark.tsv"
    conda:
        CONDA
    threads: SETTINGS.threads
    resources:
        gpu=0,
        procs=1,
        mem_mb=attempt_scaled(16000),
        runtime=attempt_scaled(480),
    params:
        code=code("train-stage2"),
        settings=settings_module.fingerprint(settings_module.stage2_settings(SETTINGS)),
        threads_each=lambda wildcards, threads, resources: max(1, threads // resources.procs),
    shell:
        "python -m cldtrans train-stage2 --config {input.config:q} --variant {wildcards.variant:q}"
        " --seed {wildcards.seed:q} --shards data/{wildcards.run:q}/shards --splits data/{wildcards.run:q}/splits"
        " --features results/{wildcards.run:q}/features"
        " --checkpoint results/{wildcards.run:q}/checkpoints/stage1/{wildcards.variant:q}/seed-{wildcards.seed:q}"
        " --output results/{wildcards.run:q}/checkpoints/stage2/{wildcards.variant:q}/seed-{wildcards.seed:q}"
        " --threads {params.threads_each} --procs {resources.procs} --code {params.code:q} > {log:q} 2>&1"


rule extract_features:
    """Pooled features of every window from one pretrained model, shared by all of its evaluations."""
    input:
        config=CONFIG,
        weights="results/{run}/checkpoints/stage1/{variant}/seed-{seed}/model.safetensors",
        index="data/{run}/shards/{dataset}/index.parquet",
    output:
        "results/{run}/features/{dataset}/{variant}/seed-{seed}.npz",
    log:
        "logs/{run}/extract_features/{dataset}/{variant}/seed-{seed}.log",
    benchmark:
        "logs/{run}/extract_features/{dataset}/{variant}/seed-{seed}.benchmark.tsv"
    conda:
        CONDA
    threads: SETTINGS.threads
    resources:
        gpu=0,
        mem_mb=attempt_scaled(8000),
        runtime=attempt_scaled(240),
    params:
        code=code("features"),
        settings=settings_module.fingerprint(SETTINGS.stage2.finetune_steps == 0),
    shell:
        "python -m cldtrans features --config {input.config:q} --dataset {wildcards.dataset:q}"
        " --variant {wildcards.variant:q} --seed {wildcards.seed:q}"
        " --checkpoint results/{wildcards.run:q}/checkpoints/stage1/{wildcards.variant:q}/seed-{wildcards.seed:q}"
        " --shards data/{wildcards.run:q}/shards/{wildcards.dataset:q} --output {output:q}"
        " --threads {threads} > {log:q} 2>&1"


rule score_fewshot:
    """Adapt a pretrained model with a budget of labels and score it on held-out subjects."""
    input:
        config=CONFIG,
        index="data/{run}/shards/{dataset}/index.parquet",
        split=division,
        weights="results/{run}/checkpoints/stage1/{variant}/seed-{seed}/model.safetensors",
        features="results/{run}/features/{dataset}/{variant}/seed-{seed}.npz",
    output:
        result="results/{run}/{experiment}/{dataset}/{variant}/budget-{budget}/seed-{seed}.json",
        predictions="results/{run}/{experiment}/{dataset}/{variant}/budget-{budget}/seed-{seed}.parquet",
    log:
        "logs/{run}/score_fewshot/{experiment}/{dataset}/{variant}/budget-{budget}/seed-{seed}.log",
    benchmark:
        "logs/{run}/score_fewshot/{experiment}/{dataset}/{variant}/budget-{budget}/seed-{seed}.benchmark.tsv"
    wildcard_constraints:
        experiment=one_of(FEWSHOT),
    conda:
        CONDA
    threads: SETTINGS.threads
    resources:
        gpu=0,
        mem_mb=attempt_scaled(8000),
        runtime=fold_scaled(240),
    params:
        code=code("fewshot"),
        settings=cell_settings(),
    shell:
        "python -m cldtrans fewshot --config {input.config:q} --experiment {wildcards.experiment:q}"
        " --dataset {wildcards.dataset:q}"
        " --method {wildcards.variant:q} --budget {wildcards.budget:q} --seed {wildcards.seed:q}"
        " --shards data/{wildcards.run:q}/shards/{wildcards.dataset:q} --split {input.split:q}"
        " --checkpoint results/{wildcards.run:q}/checkpoints/stage1/{wildcards.variant:q}/seed-{wildcards.seed:q}"
        " --features {input.features:q} --threads {threads} --output {output.result:q} > {log:q} 2>&1"


rule stage2:
    """Models with task heads."""
    input:
        PLAN.checkpoints(2),


rule fewshot:
    """Few-shot scores of our own model."""
    input:
        PLAN.results("fewshot"),
