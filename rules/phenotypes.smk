rule find_phenotypes:
    """Groups of persons in a checkpoint's embeddings: stability against a null, and what they go with."""
    input:
        index="data/{run}/shards/{dataset}/index.parquet",
        features="results/{run}/features/{dataset}/{variant}/seed-{seed}.npz",
    output:
        record="results/{run}/phenotypes/{dataset}/{variant}/seed-{seed}.json",
        figure="results/{run}/phenotypes/{dataset}/{variant}/seed-{seed}.png",
    log:
        "logs/{run}/find_phenotypes/{dataset}/{variant}/seed-{seed}.log",
    benchmark:
        "logs/{run}/find_phenotypes/{dataset}/{variant}/seed-{seed}.benchmark.tsv"
    conda:
        CONDA
    resources:
        mem_mb=attempt_scaled(8000),
        runtime=attempt_scaled(120),
    params:
        code=code("phenotypes"),
    shell:
        "python -m cldtrans phenotypes --shards data/{wildcards.run:q}/shards/{wildcards.dataset:q}"
        " --features {input.features:q} --seed {wildcards.seed:q} --threads {threads}"
        " --output {output.record:q} > {log:q} 2>&1"


rule phenotypes:
    """Phenotypes of every dataset whose features our own model's few-shot cells use."""
    input:
        PLAN.phenotypes(),
