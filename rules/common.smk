# Settings, and the functions that name files; no rules.
import os
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, workflow.basedir)

from cldtrans import config as settings_module
from cldtrans.errors import ConfigError

# Jobs run the interpreter that runs Snakemake, also when it was started as .venv/bin/snakemake; an activated
# conda environment comes before it on the path.
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]))

try:
    SETTINGS = settings_module.parse(dict(config))
except ConfigError as error:
    raise WorkflowError(str(error))

RUN = SETTINGS.run
# The resolved settings, which every job reads. Written here and not by a rule: a job depends on its own settings
# alone, through its params, and Snakemake passes over missing outputs behind an input that is both ancient and new.
CONFIG = ancient(settings_module.write_resolved(SETTINGS, f"results/{RUN}/config.json"))
CONDA = "../envs/cpu.yaml"


def exactly(name):
    """Regular expression of one name."""
    return re.escape(name)


def one_of(names):
    """Regular expression of any of some names; one that never matches where there are none."""
    return "|".join(re.escape(name) for name in names) or "(?!)"


def source(*modules):
    """Library files as inputs, so that an edit reruns what depends on it (and nothing else)."""
    return [f"{workflow.basedir}/cldtrans/{module}" for module in modules]


def section(*names):
    """Settings of some sections as a rerun trigger: a job runs again when one of its own settings changes."""
    return settings_module.fingerprint(*(getattr(SETTINGS, name) for name in names))


def dataset_settings(wildcards):
    """Fingerprint of a dataset's settings less the number of jobs, which leaves no trace in the content."""
    settings = SETTINGS.preprocess[wildcards.dataset].model_dump(mode="json", exclude={"batches"})
    return settings_module.fingerprint(settings)


def variant_settings(wildcards):
    """Fingerprint of what a variant's pretraining depends on."""
    return settings_module.fingerprint(*settings_module.variant(SETTINGS, wildcards.variant), SETTINGS.loop)


def method_settings(wildcards):
    """Fingerprint of a method's settings; a variant's lie in its checkpoint."""
    method = SETTINGS.methods.get(wildcards.method)
    return settings_module.fingerprint(method) if method else None


def world_settings(wildcards):
    """Fingerprint of a simulated world and of the method that meets it."""
    worlds = SETTINGS.identifiability
    return settings_module.fingerprint(
        worlds.worlds[wildcards.dataset], worlds.tau_max_s, SETTINGS.methods[wildcards.method]
    )


def print_estimate():
    """Jobs, bytes and hours to come, before the first job."""
    command = ["-m", "cldtrans", "estimate", "--config", f"results/{RUN}/config.json"]
    subprocess.run([sys.executable, *command], stdout=sys.stderr)


def miniature(wildcards):
    """The miniature bucket where the config embeds one and the user names no mirror."""
    embedded = SETTINGS.source.miniature and not os.getenv("CLDTRANS_MIRROR")
    return f"{SETTINGS.source.url}/MINIATURE.json" if embedded else []


def batch_files(wildcards):
    """One file a preprocessing job."""
    return [
        f"data/{wildcards.run}/shards/{wildcards.dataset}/parts/batch-{batch}.json"
        for batch in range(SETTINGS.preprocess[wildcards.dataset].batches)
    ]


def stage1_indices(wildcards):
    """Shard indices of the corpora that a variant is pretrained on."""
    _, stage1 = settings_module.variant(SETTINGS, wildcards.variant)
    return [f"data/{wildcards.run}/shards/{dataset}/index.parquet" for dataset in stage1.datasets]


def checkpoint_file(wildcards):
    """The pretrained model of a method that is a variant of ours; nothing for a baseline."""
    if wildcards.method not in SETTINGS.variants:
        return []
    return f"results/{wildcards.run}/checkpoints/stage1/{wildcards.method}/seed-{wildcards.seed}/model.safetensors"


def annotation_file(wildcards):
    """The table of clinicians' focal leads, where the user supplies one."""
    path = SETTINGS.zeroshot.annotations
    return path if path and wildcards.dataset == "chbmit" and not _inside_mirror(path) else []


def _inside_mirror(path):
    return bool(SETTINGS.source.miniature) and Path(path).is_relative_to(SETTINGS.source.url)


def results_of(target=None):
    """Result files that the plan asks for, of one target or of all."""
    return sorted(
        {
            f"results/{RUN}/{block.experiment}/{dataset}/{method}/budget-{budget}/seed-{seed}.json"
            for block in SETTINGS.experiments
            if target in (None, block.target)
            for dataset, method, budget, seed in product(
                block.datasets, block.methods, block.budgets, block.seeds
            )
        }
    )


def stage1_checkpoints():
    """Pretrained models that the plan needs."""
    wanted = {
        (method, seed)
        for block in SETTINGS.experiments
        for method, seed in product(block.methods, block.seeds)
        if method in SETTINGS.variants
    } | set(product(SETTINGS.stage2.variants, SETTINGS.stage2.seeds))
    return sorted(
        f"results/{RUN}/checkpoints/stage1/{variant}/seed-{seed}/model.safetensors"
        for variant, seed in wanted
    )


def stage2_checkpoints():
    """Models with task heads."""
    return [
        f"results/{RUN}/checkpoints/stage2/{variant}/seed-{seed}/model.safetensors"
        for variant, seed in product(SETTINGS.stage2.variants, SETTINGS.stage2.seeds)
    ]


def indices():
    """Shard indices of every dataset."""
    return [f"data/{RUN}/shards/{dataset}/index.parquet" for dataset in SETTINGS.datasets]


TABLES = (
    "summary",
    "fewshot",
    "planted",
    "zeroshot",
    "identifiability",
    "robustness",
    "comparisons",
    "datasets",
    "cost",
)
FIGURES = ("fewshot", "planted", "identifiability", "robustness", "training", "lags", "motifs")


def tables():
    """Every table in every format."""
    return [
        f"results/{RUN}/tables/{name}.{ext}" for name, ext in product(TABLES, ("csv", "html", "md", "tex"))
    ]


def figure_files():
    """Every figure in both formats."""
    return [f"results/{RUN}/figures/{name}.{ext}" for name, ext in product(FIGURES, ("pdf", "png"))]


def paper_files():
    """The draft."""
    return [f"results/{RUN}/paper/paper.{ext}" for ext in ("md", "tex")]


def attempt_scaled(amount):
    """A resource that doubles with each retry."""

    def scaled(wildcards, attempt):
        return amount * 2 ** (attempt - 1)

    return scaled


def checkpoint_option(wildcards):
    """The command-line option that names a variant's pretrained model; nothing for a baseline."""
    files = checkpoint_file(wildcards)
    return f"--checkpoint {Path(files).parent}" if files else ""


def method_source(wildcards):
    """The module of ours that holds a baseline; a user's own module is not tracked."""
    method = SETTINGS.methods[wildcards.method]
    package = (method.classifier or method.readout or method.estimator).split(":")[0]
    path = Path(workflow.basedir, *package.split(".")).with_suffix(".py")
    return str(path) if path.is_file() else []
