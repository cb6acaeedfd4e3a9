# Settings, the plan, and the functions of wildcards that rules share; no rules.
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from shutil import which

from snakemake.exceptions import WorkflowError

sys.path.insert(0, workflow.basedir)
sys.path.append(os.getcwd())  # where datasets and methods of one's own may lie

from cldtrans import config as settings_module
from cldtrans.data import chosen_dataset
from cldtrans.data.base import scratch_folder
from cldtrans.data.intracranial import get_reader
from cldtrans.data.known_lags.sets import paths_of
from cldtrans.errors import ConfigError
from cldtrans.methods.cells import Cell
from cldtrans.planning import prices
from cldtrans.planning.cost import dataset_cost
from cldtrans.planning.plan import (
    FEWSHOT,
    FIGURE_TITLES,
    PAPER_PARTS,
    READING_FIGURES,
    SCORE_FIGURES,
    TABLE_TITLES,
    TABLES,
    Plan,
)
from cldtrans.training.finished import drop_taken

# Jobs run the interpreter that runs Snakemake, also when it was started as .venv/bin/snakemake; an activated
# conda environment comes before it on the path.
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]))
# One thread a numeric library: jobs run side by side instead, and results do not depend on the machine.
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

try:
    SETTINGS = settings_module.parse(dict(config))
except ConfigError as error:
    raise WorkflowError(str(error))

RUN = SETTINGS.run
PLAN = Plan(SETTINGS, Path(workflow.basedir, "workflow", "scripts"))
# The resolved settings, which every job reads. Written here and not by a rule: a job depends on its own settings
# alone, through its params, and Snakemake passes over missing outputs behind an input that is both ancient and new.
CONFIG = ancient(settings_module.write_resolved(SETTINGS, f"results/{RUN}/config.json"))
CONDA = "../envs/cpu.yaml"
# No parameter, since it shapes nothing: a run whose scratch is moved does not train again.
SCRATCH = str(scratch_folder(SETTINGS))
SLOWEST_BYTES_PER_MIN = 300e6  # 5 MB/s
NAME = settings_module.NAME.removesuffix("$").removeprefix("^")


def exactly(name):
    """Regular expression of one name."""
    return re.escape(name)


def one_of(names):
    """Regular expression of any of some names; one that never matches where there are none."""
    return "|".join(re.escape(name) for name in names) or "(?!)"


def method_of(wildcards):
    """The method or variant of a job, None where it has none."""
    return wildcards.get("method", wildcards.get("variant"))


def code(command, experiment=None):
    """Hash of the code that `cldtrans <command>` executes, as a parameter: a job runs again when it changes."""

    def digest(wildcards):
        dataset, asked = wildcards.get("dataset"), wildcards.get("experiment", experiment)
        return PLAN.code_sha256(command, dataset, method_of(wildcards), asked)

    return digest


def script_code(name):
    """Hash of the code that a script executes."""

    def digest(wildcards):
        return PLAN.script_sha256(name.format(figure=wildcards.get("figure", wildcards.get("reading"))))

    return digest


def cell_settings(experiment=None):
    """Hash of the settings that a cell reads."""

    def digest(wildcards):
        asked, budget = wildcards.get("experiment", experiment), wildcards.get("budget", "0")
        cell = Cell(asked, wildcards.dataset, method_of(wildcards), budget, int(wildcards.seed))
        return PLAN.cell_sha256(cell)

    return digest


def dataset_settings(wildcards):
    """Hash of the settings that shape a dataset's shards."""
    return PLAN.content_sha256(wildcards.dataset)


def variant_settings(wildcards):
    """Hash of the settings that shape a pretrained model."""
    return PLAN.pretraining_sha256(wildcards.variant)


def figure_title(name):
    """A figure's name in the report's list."""
    return FIGURE_TITLES[name]


def check_cluster():
    """Under Slurm: refuse before the first job what would wait in the queue for ever."""
    from cldtrans.planning import slurm

    executor = workflow.executor_settings
    jobs = [job for job in workflow.dag.needrun_jobs() if not job.is_local]
    # Jobs of a group run side by side in one entry of the queue, which asks for all of them.
    most, there = workflow.group_settings.group_components, Counter(job.group for job in jobs)
    requests = [
        slurm.request_of(
            job.rule.name, job.threads, job.resources, min(most.get(job.group, 1), there[job.group])
        )
        for job in jobs
    ]
    try:
        warnings = slurm.check_cluster(
            requests, executor.status_command, executor.init_seconds_before_status_checks
        )
    except slurm.ClusterError as error:
        raise WorkflowError(str(error))
    for warning in warnings:
        print(f"cluster: {warning}", file=sys.stderr)


def figure_caption(wildcards):
    """The caption of a figure whose rule draws several, which the report's template takes from here."""
    name = wildcards.get("figure", wildcards.get("reading"))
    return Path(workflow.basedir, "workflow", "report", f"figure_{name}.rst").read_text()


def print_estimate():
    """Jobs, bytes and hours to come, before the first job."""
    command = ["-m", "cldtrans", "estimate", "--config", f"results/{RUN}/config.json"]
    subprocess.run([sys.executable, *command], stdout=sys.stderr)


def refuse_if_too_dear():
    """Stop before the first job where the forecast is above the config's limit."""
    limit, devices = SETTINGS.cost.limit, SETTINGS.cost.devices
    if limit is None:
        return
    known = prices.read_prices(Path(workflow.basedir, SETTINGS.cost.prices))
    pace = prices.pace_of(SETTINGS, devices, SETTINGS.cost.job_min)
    if reason := prices.refusal(prices.costs(SETTINGS, known, pace, devices=devices), limit):
        raise WorkflowError(reason)


def miniature(wildcards):
    """The miniature bucket where the config embeds one and the user names no mirror."""
    embedded = SETTINGS.source.miniature and not os.getenv("CLDTRANS_MIRROR")
    return f"{SETTINGS.source.url}/MINIATURE.json" if embedded else []


def batch_files(wildcards):
    """One file a preprocessing job."""
    return PLAN.batches(wildcards.dataset)


def stage1_indices(wildcards):
    """Shard indices of the corpora that a variant is pretrained on, and of those that a probe reads."""
    return [PLAN.shards(dataset) for dataset in PLAN.read_by_stage1(wildcards.variant)]


def checkpoint_file(wildcards):
    """The pretrained model of a method that is, or fine-tunes, a variant of ours; nothing for a baseline."""
    variant = SETTINGS.variant_of(wildcards.method)
    return [] if variant is None else PLAN.checkpoint(1, variant, wildcards.seed)


def checkpoint_option(wildcards):
    """The command-line words that name a variant's pretrained model; none for a baseline."""
    files = checkpoint_file(wildcards)
    return ["--checkpoint", str(Path(files).parent)] if files else []


def network_file(wildcards):
    """The network that a method starts from; nothing for most."""
    return PLAN.network(wildcards.method, wildcards.seed) or []


def network_option(wildcards):
    """The command-line words that name it."""
    file = network_file(wildcards)
    return ["--start", file] if file else []


def tolerance(wildcards):
    """Most that an exported network may lose."""
    place = (wildcards.method, wildcards.dataset, int(wildcards.seed))
    return next(one.tolerance for one in SETTINGS.deploy if (one.method, one.dataset, one.seed) == place)


def recordings_file(wildcards):
    """What a cell of focal leads is scored on: the index of shards, or the files of an intracranial set."""
    if wildcards.dataset not in SETTINGS.zeroshot.intracranial:
        return PLAN.shards(wildcards.dataset)
    folder = SETTINGS.zeroshot.intracranial[wildcards.dataset].folder
    found = get_reader(wildcards.dataset).files(Path(folder).expanduser()) if folder else []
    return [str(path) for path in found]


def known_files(wildcards):
    """The files of a set of known lags that are there."""
    known, dataset = SETTINGS.known_lags, wildcards.dataset
    return [str(path) for path in paths_of(dataset, known.folders.get(dataset, known.folder))]


def shards_option(wildcards):
    """The command-line words that name a dataset's shards; none for an intracranial set."""
    if wildcards.dataset in SETTINGS.zeroshot.intracranial:
        return []
    return ["--shards", str(Path(PLAN.shards(wildcards.dataset)).parent)]


def annotation_file(wildcards):
    """The table of clinicians' focal leads, where the user supplies one and the dataset has no better truth."""
    path = SETTINGS.zeroshot.annotations
    if wildcards.dataset in SETTINGS.zeroshot.intracranial or not path:
        return []
    if chosen_dataset(wildcards.dataset, SETTINGS.dataset_classes).focal_truth != "annotation":
        return []
    inside_mirror = SETTINGS.source.miniature and Path(path).is_relative_to(SETTINGS.source.url)
    return [] if inside_mirror else path


def download_minutes(wildcards, attempt):
    """Time for a dataset's bytes from a slow source; a retry goes on where the last attempt stopped."""
    size = dataset_cost(SETTINGS, wildcards.dataset, Path()).download_bytes
    return (30 + round(size / SLOWEST_BYTES_PER_MIN)) * 2 ** (attempt - 1)


def published_file(wildcards):
    """The file of published predictions of a dataset."""
    return str(Path(SETTINGS.published[wildcards.dataset].file).expanduser())


def division(wildcards):
    """The division of subjects that a few-shot cell uses."""
    return PLAN.split(wildcards.dataset, wildcards.seed, wildcards.experiment)


def fold_scaled(minutes):
    """Run time that doubles with each retry, and is ten times as long where every fold is fitted."""

    def scaled(wildcards, attempt):
        folded = wildcards.experiment in ("loso", "tenfold")
        return minutes * (10 if folded else 1) * 2 ** (attempt - 1)

    return scaled


def attempt_scaled(amount):
    """A resource that doubles with each retry."""

    def scaled(wildcards, attempt):
        return amount * 2 ** (attempt - 1)

    return scaled
