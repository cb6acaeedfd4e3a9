rule deploy_network:
    """Export a network, quantise it, and refuse what loses more than its tolerance."""
    input:
        config=CONFIG,
        index="data/{run}/shards/{dataset}/index.parquet",
        split="data/{run}/splits/{dataset}/seed-{seed}.csv",
        network=network_file,
        weights="results/{run}/checkpoints/networks/{method}/{dataset}/seed-{seed}/model.safetensors",
    output:
        "results/{run}/deploy/{method}/{dataset}/seed-{seed}/deploy.json",
    log:
        "logs/{run}/deploy_network/{method}/{dataset}/seed-{seed}.log",
    benchmark:
        "logs/{run}/deploy_network/{method}/{dataset}/seed-{seed}.benchmark.tsv"
    wildcard_constraints:
        method=one_of(SETTINGS.methods),
    conda:
        CONDA
    threads: 1
    resources:
        gpu=0,
        mem_mb=attempt_scaled(8000),
        runtime=attempt_scaled(120),
    params:
        code=code("deploy", "fewshot"),
        settings=cell_settings("fewshot"),
        network=network_option,
        tolerance=tolerance,
    shell:
        "python -m cldtrans deploy --config {input.config:q} --dataset {wildcards.dataset:q}"
        " --method {wildcards.method:q} --seed {wildcards.seed:q} --tolerance {params.tolerance:q}"
        " --shards data/{wildcards.run:q}/shards/{wildcards.dataset:q} --split {input.split:q}"
        " --network {input.weights:q} {params.network:q}"
        " --output results/{wildcards.run:q}/deploy/{wildcards.method:q}/{wildcards.dataset:q}/seed-{wildcards.seed:q}"
        " > {log:q} 2>&1"


rule deploy:
    """Every network that is to be exported."""
    input:
        PLAN.deployed(),
