rule score_focal_lead:
    """Localize the leading channel, without labels, on recorded (zeroshot) or planted discharges."""
    input:
        config=CONFIG,
        recordings=recordings_file,
        weights=checkpoint_file,
        annotations=annotation_file,
    output:
        "results/{run}/{experiment}/{dataset}/{method}/budget-0/seed-{seed}.json",
    log:
        "logs/{run}/score_focal_lead/{experiment}/{dataset}/{method}/seed-{seed}.log",
    wildcard_constraints:
        experiment="zeroshot|planted",
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


rule zeroshot:
    """Focal-lead localization by our own model."""
    input:
        PLAN.results("zeroshot"),
