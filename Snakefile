# The experiment, from PhysioNet's bytes to the paper: a table of contents.
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27")


configfile: str(Path(workflow.basedir, "config", "config.yaml"))


for settings_of_dataset in sorted(Path(workflow.basedir, "config", "datasets").glob("*.yaml")):

    configfile: str(settings_of_dataset)


include: "rules/common.smk"


report: str(Path(PLAN.front()).absolute())


wildcard_constraints:
    run=exactly(SETTINGS.run),
    dataset=NAME,
    variant=one_of(SETTINGS.variants),
    budget=r"0|0\.01|0\.1|1\.0",
    seed=r"\d+",
    batch=r"\d+",


localrules:
    all,
    smoke,
    download,
    preprocess,
    stage1,
    stage2,
    zeroshot,
    fewshot,
    identifiability,
    known_lags,
    ablations,
    robustness,
    baselines,
    deploy,
    phenotypes,
    figures,
    paper,


onstart:
    refuse_if_too_dear()
    if workflow.executor_plugin.name == "slurm":
        check_cluster()
    if SETTINGS.source.miniature is None:  # a miniature takes minutes
        print_estimate()


onsuccess:
    drop_taken(Path(SCRATCH))


rule all:
    """Everything that the config plans."""
    default_target: True
    input:
        PLAN.checkpoints(2),
        PLAN.results(),
        PLAN.predictions(),
        PLAN.deployed(),
        PLAN.audit(),
        PLAN.tables(),
        PLAN.figures(),
        PLAN.paper(),
        PLAN.front(),


include: "rules/download.smk"
include: "rules/preprocess.smk"
include: "rules/pretrain.smk"
include: "rules/finetune.smk"
include: "rules/zeroshot.smk"
include: "rules/identifiability.smk"
include: "rules/known_lags.smk"
include: "rules/baselines.smk"
include: "rules/deploy.smk"
include: "rules/ablations.smk"
include: "rules/robustness.smk"
include: "rules/phenotypes.smk"
include: "rules/audit.smk"
include: "rules/figures.smk"
include: "rules/paper.smk"
