rule score_fewshot_baseline:
    """Train a baseline with a budget of labels and score it on held-out subjects."""
    input:
        config=CONFIG,
        index="data/{run}/shards/{dataset}/index.parquet",
        split=division,
        weights=checkpoint_file,
        network=network_file,
    output:
        result="results/{run}/{experiment}/{dataset}/{method}/budget-{budget}/seed-{seed}.json",
        predictions="results/{run}/{experiment}/{dataset}/{method}/budget-{budget}/seed-{seed}.parquet",
    log:
        "logs/{run}/score_fewshot_baseline/{experiment}/{dataset}/{method}/budget-{budget}/seed-{seed}.log",
    benchmark:
        "logs/{run}/score_fewshot_baseline/{experiment}/{dataset}/{method}/budget-{budget}/seed-{seed}.benchmark.tsv"
    wildcard_constraints:
        experiment=one_of(FEWSHOT),
        method=one_of(SETTINGS.methods),
    conda:
        CONDA
    threads: SETTINGS.threads
    resources:
        gpu=0,
        mem_mb=attempt_scaled(8000),
        runtime=fold_scaled(480),
    params:
        code=code("fewshot"),
        settings=cell_settings(),
        checkpoint=checkpoint_option,
        network=network_option,
    shell:
        "python -m cldtrans fewshot --config {input.config:q} --experiment {wildcards.experiment:q}"
        " --dataset {wildcards.dataset:q}"
        " --method {wildcards.method:q} --budget {wildcards.budget:q} --seed {wildcards.seed:q}"
        " --shards data/{wildcards.run:q}/shards/{wildcards.dataset:q} --split {input.split:q}"
        " {params.checkpoint:q} {params.network:q} --threads {threads} --output {output.result:q} > {log:q} 2>&1"


rule train_network:
    """Train a method's network with all labels of a dataset, for others to start from."""
    input:
        config=CONFIG,
        index="data/{run}/shards/{dataset}/index.parquet",
        split="data/{run}/splits/{dataset}/seed-{seed}.csv",
        network=network_file,
    output:
        "results/{run}/checkpoints/networks/{method}/{dataset}/seed-{seed}/model.safetensors",
    log:
        "logs/{run}/train_network/{method}/{dataset}/seed-{seed}.log",
    benchmark:
        "logs/{run}/train_network/{method}/{dataset}/seed-{seed}.benchmark.tsv"
    wildcard_constraints:
        method=one_of(SETTINGS.methods),
    conda:
        CONDA
    threads: SETTINGS.threads
    resources:
        gpu=0,
        mem_mb=attempt_scaled(16000),
        runtime=attempt_scaled(1440),
    params:
        code=code("train-network", "fewshot"),
        settings=cell_settings("fewshot"),
        network=network_option,
    shell:
        "python -m cldtrans train-network --config {input.config:q} --dataset {wildcards.dataset:q}"
        " --method {wildcards.method:q} --seed {wildcards.seed:q}"
        " --shards data/{wildcards.run:q}/shards/{wildcards.dataset:q} --split {input.split:q}"
        " {params.network:q} --threads {threads} --output {output:q} > {log:q} 2>&1"


rule compare_published:
    """Our predictions against published ones of the same recordings, by a paired bootstrap."""
    input:
        results=lambda wildcards: PLAN.compared(wildcards.dataset),
        file=published_file,
    output:
        "results/{run}/published/{dataset}.json",
    log:
        "logs/{run}/compare_published/{dataset}.log",
    benchmark:
        "logs/{run}/compare_published/{dataset}.benchmark.tsv"
    conda:
        CONDA
    resources:
        mem_mb=attempt_scaled(4000),
        runtime=attempt_scaled(30),
    params:
        code=code("published"),
        name=lambda wildcards: SETTINGS.published[wildcards.dataset].name,
    shell:
        "python -m cldtrans published {input.results:q} --file {input.file:q} --name {params.name:q}"
        " --output {output:q} > {log:q} 2>&1"


rule baselines:
    """Scores of every method that is not ours."""
    input:
        PLAN.results("baselines"),
