rule preprocess_batch:
    """Filter, resample and cut one batch of recordings into shards."""
    input:
        config=CONFIG,
        stamp="data/{run}/download/{dataset}.json",
    output:
        "data/{run}/shards/{dataset}/parts/batch-{batch}.json",
    log:
        "logs/{run}/preprocess_batch/{dataset}/batch-{batch}.log",
    benchmark:
        "logs/{run}/preprocess_batch/{dataset}/batch-{batch}.benchmark.tsv"
    conda:
        CONDA
    resources:
        mem_mb=attempt_scaled(4000),
        runtime=attempt_scaled(240),
    params:
        code=code("preprocess"),
        settings=dataset_settings,
    shell:
        "python -m cldtrans preprocess --config {input.config:q} --dataset {wildcards.dataset:q}"
        " --batch {wildcards.batch:q} --stamp {input.stamp:q}"
        " --output-dir data/{wildcards.run:q}/shards/{wildcards.dataset:q} > {log:q} 2>&1"


rule index_shards:
    """One index of a dataset's windows, and the list of what could not be used."""
    input:
        config=CONFIG,
        batches=batch_files,
    output:
        index="data/{run}/shards/{dataset}/index.parquet",
        meta="data/{run}/shards/{dataset}/meta.json",
        quarantine="data/{run}/shards/{dataset}/quarantine.csv",
    log:
        "logs/{run}/index_shards/{dataset}.log",
    benchmark:
        "logs/{run}/index_shards/{dataset}.benchmark.tsv"
    conda:
        CONDA
    resources:
        mem_mb=attempt_scaled(8000),
        runtime=attempt_scaled(60),
    params:
        code=code("index"),
    shell:
        "python -m cldtrans index --config {input.config:q} --dataset {wildcards.dataset:q}"
        " --output-dir data/{wildcards.run:q}/shards/{wildcards.dataset:q} > {log:q} 2>&1"


rule split_dataset:
    """Divide subjects into train, validation and test; every method uses the same division."""
    input:
        config=CONFIG,
        index="data/{run}/shards/{dataset}/index.parquet",
    output:
        "data/{run}/splits/{dataset}/seed-{seed}.csv",
    log:
        "logs/{run}/split_dataset/{dataset}/seed-{seed}.log",
    benchmark:
        "logs/{run}/split_dataset/{dataset}/seed-{seed}.benchmark.tsv"
    conda:
        CONDA
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        code=code("split"),
        division=[],
    shell:
        "python -m cldtrans split --config {input.config:q} --dataset {wildcards.dataset:q} --seed {wildcards.seed:q}"
        " --shards data/{wildcards.run:q}/shards/{wildcards.dataset:q} {params.division:q}"
        " --output {output:q} > {log:q} 2>&1"


use rule split_dataset as divide_dataset with:
    output:
        "data/{run}/splits/{dataset}/{division}/seed-{seed}.csv",
    log:
        "logs/{run}/split_dataset/{dataset}/{division}/seed-{seed}.log",
    benchmark:
        "logs/{run}/split_dataset/{dataset}/{division}/seed-{seed}.benchmark.tsv"
    wildcard_constraints:
        division=one_of(settings_module.DIVISIONS),
    params:
        code=code("split"),
        division=lambda wildcards: ["--division", wildcards.division],


rule preprocess:
    """Shards of every dataset."""
    input:
        PLAN.every_shards(),
