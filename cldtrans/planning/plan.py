"""What a config asks for: cells, models, tables, figures, and the code and settings that each job rests on.

The workflow asks for the files that stand here, and the estimate counts them: one plan, computed once.
"""

from __future__ import annotations

from collections import Counter
from functools import cache, cached_property
from itertools import product
from pathlib import Path

from cldtrans.config import DIVISIONS, Config, content_settings, fingerprint, pretraining_settings, variant
from cldtrans.data import chosen_dataset
from cldtrans.data.intracranial import get_reader
from cldtrans.data.known_lags import sets
from cldtrans.files import sha256_file
from cldtrans.methods.cells import Cell, cell_settings
from cldtrans.methods.factories import ROLES, STRATEGY, spec_of
from cldtrans.planning.code import Code, Roots

TABLE_TITLES = {
    "headline": "headline scores",
    "summary": "primary scores",
    "fewshot": "few labels",
    "planted": "planted discharges",
    "zeroshot": "recorded seizures",
    "identifiability": "simulated worlds",
    "known_lags": "known lags",
    "robustness": "degraded recordings",
    "tuning": "fine-tuning strategies",
    "comparisons": "against the best rival",
    "ablations": "variants of the model",
    "published": "against published predictions",
    "audit": "checks of the run",
    "datasets": "data",
    "cost": "cost",
    "provenance": "versions and commits",
}
TABLES = tuple(TABLE_TITLES)
FIGURE_TITLES = {
    "fewshot": "few labels",
    "planted": "planted discharges",
    "identifiability": "simulated worlds",
    "robustness": "degraded recordings",
    "tuning": "score against memory",
    "ablations": "variants of the model",
    "cost": "score against cost",
    "known_lags": "known lags",
    "lags": "lags in one window",
    "motifs": "the codebook",
    "states": "lags by state",
    "conduction": "ECG delays by diagnosis",
    "transitions": "motifs in sleep",
}
# Drawn from tables alone.
SCORE_FIGURES = (
    "fewshot",
    "planted",
    "identifiability",
    "robustness",
    "tuning",
    "ablations",
    "cost",
    "known_lags",
)
READING_FIGURES = ("lags", "motifs", "states", "conduction", "transitions")  # what a model reads in windows
MODEL_FIGURES = ("training", *READING_FIGURES)  # of a pretrained model: none, where nothing is pretrained
FIGURES = ("architecture", *SCORE_FIGURES, *MODEL_FIGURES, "propagation")

PAPER_TABLES = ("focal", "fewshot", "identifiability", "ablations", "robustness", "known")
PAPER_PARTS = ("numbers.tex", "references.bib", "data.tex", *(f"table-{name}.tex" for name in PAPER_TABLES))

FEWSHOT = ("fewshot", *DIVISIONS)  # the dataset's own division, and others

# The rule that makes a cell: by experiment, and whether the method is a variant of our model.
RULES = {
    **{(name, True): "score_fewshot" for name in FEWSHOT},
    **{(name, False): "score_fewshot_baseline" for name in FEWSHOT},
    ("zeroshot", True): "score_focal_lead",
    ("zeroshot", False): "score_focal_lead",
    ("lead_robustness", True): "score_focal_lead",
    ("lead_robustness", False): "score_focal_lead",
    ("reconstruction", True): "score_reconstruction",
    ("planted", True): "score_focal_lead",
    ("planted", False): "score_focal_lead",
    ("identifiability", False): "score_identifiability",
    ("known_lags", False): "score_known_lags",
    ("robustness", True): "score_robustness",
    ("robustness", False): "score_robustness",
}
# The command that makes a cell, by experiment.
COMMANDS = {
    **dict.fromkeys(FEWSHOT, "fewshot"),
    "zeroshot": "focal-lead",
    "reconstruction": "reconstruction",
    "planted": "focal-lead",
    "lead_robustness": "focal-lead",
    "identifiability": "identifiability",
    "known_lags": "known-lags",
    "robustness": "robustness",
}
# Commands that execute a dataset's reader, and those that only ask for its files, folds or channels.
READS_DATASET = {"preprocess"}
ASKS_DATASET = {"download", "index", "split", "focal-lead", "reconstruction"}


class Plan:
    """The files of one run, named from the folder of the workflow.

    Parameters
    ----------
    config : Config
        Settings of the run.
    scripts : Path
        Folder of the scripts that turn results into tables and figures.
    """

    def __init__(self, config: Config, scripts: Path = Path("workflow/scripts")) -> None:
        self.config, self.run, self.scripts = config, config.run, scripts
        self._code = Code([scripts])
        self._digest = cache(self._digest_of)

    @cached_property
    def cells(self) -> list[Cell]:
        """Every cell once, whatever blocks ask for it."""
        return sorted({cell for target in self._by_target.values() for cell in target})

    def results(self, target: str | None = None) -> list[str]:
        """Return the result files of one target or of all."""
        cells = self.cells if target is None else sorted(self._by_target.get(target, ()))
        return [cell.path(self.run) for cell in cells]

    def predictions(self) -> list[str]:
        """Return what classifiers said of every held-out window: a file beside each few-shot result."""
        asked = [cell for cell in self.cells if cell.experiment in FEWSHOT]
        return [str(Path(cell.path(self.run)).with_suffix(".parquet")) for cell in asked]

    @cached_property
    def pretrained(self) -> list[tuple[str, int]]:
        """(variant, seed) of every pretrained model that the cells and the task heads need."""
        models = {(self.config.variant_of(cell.method), cell.seed) for cell in self.cells}
        wanted = {(name, seed) for name, seed in models if name is not None}
        return sorted(wanted | set(self.heads))

    @cached_property
    def heads(self) -> list[tuple[str, int]]:
        """(variant, seed) of every model with task heads."""
        if not self.config.has_heads:
            return []
        return list(product(self.config.stage2.variants, self.config.stage2.seeds))

    def checkpoint(self, stage: int, variant_name: str, seed: int | str) -> str:
        """Return the weights of one model."""
        return f"results/{self.run}/checkpoints/stage{stage}/{variant_name}/seed-{seed}/model.safetensors"

    def checkpoints(self, stage: int) -> list[str]:
        """Return the weights of every pretrained model (stage 1), or of every model with task heads (2)."""
        return [self.checkpoint(stage, *model) for model in (self.pretrained if stage == 1 else self.heads)]

    def network(self, method: str, seed: int | str) -> str | None:
        """Return the weights of the network that a method starts from; None where it starts from none."""
        found = self.config.methods.get(method)
        if found is None or found.start is None:
            return None
        start = found.start
        return (
            f"results/{self.run}/checkpoints/networks/{start.method}/{start.dataset}/seed-{seed}"
            "/model.safetensors"
        )

    def deployed(self) -> list[str]:
        """Return what every export wrote of itself."""
        return [
            f"results/{self.run}/deploy/{one.method}/{one.dataset}/seed-{one.seed}/deploy.json"
            for one in self.config.deploy
        ]

    @cached_property
    def networks(self) -> list[tuple[str, str, int]]:
        """(method, dataset, seed) of every network that a cell, or one of these, starts from."""
        waiting = [(cell.method, cell.seed) for cell in self.cells]
        found = {(one.method, one.dataset, one.seed) for one in self.config.deploy}
        waiting += [(method, seed) for method, _, seed in found]
        while waiting:
            method, seed = waiting.pop()
            start = self.config.methods[method].start if method in self.config.methods else None
            if start is not None and (start.method, start.dataset, seed) not in found:
                found.add((start.method, start.dataset, seed))
                waiting.append((start.method, seed))
        return sorted(found)

    def histories(self) -> list[str]:
        """Return what every pretraining wrote of itself."""
        return [str(Path(file).with_name("training.json")) for file in self.checkpoints(1)]

    def stamp(self, dataset: str) -> str:
        """Return what the download of a dataset wrote of itself."""
        return f"data/{self.run}/download/{dataset}.json"

    def stamps(self) -> list[str]:
        """Return the stamp of every dataset."""
        return [self.stamp(name) for name in self.config.datasets]

    def shards(self, dataset: str, file: str = "index.parquet") -> str:
        """Return a file of a dataset's shards."""
        return f"data/{self.run}/shards/{dataset}/{file}"

    def read_by_stage1(self, name: str) -> list[str]:
        """Return the corpora that a variant is pretrained on, and those that a probe reads meanwhile."""
        stage1 = variant(self.config, name)[1]
        probed = [dataset for dataset in stage1.probe if dataset in self.config.datasets]
        return list(dict.fromkeys([*stage1.datasets, *probed]))

    def every_shards(self, file: str = "index.parquet") -> list[str]:
        """Return that file of every dataset."""
        return [self.shards(name, file) for name in self.config.datasets]

    def batches(self, dataset: str) -> list[str]:
        """Return one file a preprocessing job."""
        number = self.config.preprocess[dataset].batches
        return [self.shards(dataset, f"parts/batch-{batch}.json") for batch in range(number)]

    def tables(self, *formats: str, names: tuple[str, ...] = TABLES) -> list[str]:
        """Return every table in these formats, by default in all."""
        kinds = formats or ("csv", "html", "md", "tex")
        return [f"results/{self.run}/tables/{name}.{kind}" for name, kind in product(names, kinds)]

    @cached_property
    def figure_names(self) -> tuple[str, ...]:
        """Names of the figures that this plan has something to draw for."""
        tuned = any(self.config.methods[name].finetune for name in self.config.methods if name in self._asked)
        lacking = set() if self.pretrained else set(MODEL_FIGURES)
        return tuple(name for name in FIGURES if name not in lacking and (tuned or name != "tuning"))

    def figures(self) -> list[str]:
        """Return every figure in both formats."""
        kinds = ("pdf", "png")
        return [
            f"results/{self.run}/figures/{name}.{kind}" for name, kind in product(self.figure_names, kinds)
        ]

    def front(self) -> str:
        """Return the first page of the report."""
        return f"results/{self.run}/front.rst"

    def audit(self) -> str:
        """Return what the checks of the run say."""
        return f"results/{self.run}/audit.json"

    def published(self) -> list[str]:
        """Return the comparisons with published predictions, of datasets whose file the config names."""
        known = [name for name, one in self.config.published.items() if one.file and self.compared(name)]
        return [f"results/{self.run}/published/{name}.json" for name in known]

    def compared(self, dataset: str) -> list[str]:
        """Return our few-shot results that published predictions of a dataset are compared with."""
        return [
            cell.path(self.run)
            for cell in self.cells
            if cell.experiment == "fewshot"
            and cell.dataset == dataset
            and cell.method in self.config.variants
        ]

    def splits(self) -> list[str]:
        """Return every division that a cell or a task head uses."""
        probed = [cell for cell in self.cells if ROLES[cell.experiment] == "classifier"]
        judged = probed + [cell for cell in self.cells if cell.experiment == "reconstruction"]
        used = {self.split(cell.dataset, cell.seed, cell.experiment) for cell in judged}
        used |= {self.split(dataset, seed) for _, dataset, seed in self.networks}
        on_heads = product(self.config.stage2.datasets, self.heads)
        return sorted(used | {self.split(name, seed) for name, (_, seed) in on_heads})

    def split(self, dataset: str, seed: int | str, experiment: str = "fewshot") -> str:
        """Return the division of a dataset that an experiment uses."""
        folder = f"data/{self.run}/splits/{dataset}" + (f"/{experiment}" if experiment in DIVISIONS else "")
        return f"{folder}/seed-{seed}.csv"

    def phenotypes(self) -> list[str]:
        """Return the phenotypes of every dataset and model that a few-shot cell has features of."""
        asked = sorted(
            {
                (cell.dataset, cell.method, cell.seed)
                for cell in self.cells
                if cell.experiment == "fewshot" and cell.method in self.config.variants
            }
        )
        return [
            f"results/{self.run}/phenotypes/{dataset}/{name}/seed-{seed}.json"
            for dataset, name, seed in asked
        ]

    def paper(self) -> list[str]:
        """Return the draft, in both formats, and what became of its PDF."""
        return [f"results/{self.run}/paper/{file}" for file in ("paper.md", "paper.tex", "build.json")]

    def jobs(self) -> dict[str, int]:
        """Count the jobs of the whole plan, by rule."""
        config, ours = self.config, set(self.config.variants)
        scored = Counter(RULES[cell.experiment, cell.method in ours] for cell in self.cells)
        on_heads = {(name, *head) for name, head in product(config.stage2.datasets, self.heads)}
        probed = [cell for cell in self.cells if ROLES[cell.experiment] == "classifier"]
        features = {(cell.dataset, cell.method, cell.seed) for cell in probed if cell.method in ours}
        divided = self.splits()
        other = [path for path in divided if Path(path).parent.name in DIVISIONS]
        return {
            "write_miniature": int(config.source.miniature is not None),
            "download_dataset": len(config.datasets),
            "preprocess_batch": sum(config.preprocess[name].batches for name in config.datasets),
            "index_shards": len(config.datasets),
            "split_dataset": len(divided) - len(other),
            "divide_dataset": len(other),
            "train_stage1": len(self.pretrained),
            "extract_features": len(features | on_heads),
            "train_stage2": len(self.heads),
            "train_network": len(self.networks),
            "deploy_network": len(self.config.deploy),
            **{rule: scored[rule] for rule in dict.fromkeys(RULES.values())},
            "compare_published": len(self.published()),
            "audit": 1,
            "make_tables": 1,
            "plot_scores": len(set(SCORE_FIGURES) & set(self.figure_names)),
            "plot_readings": len(set(READING_FIGURES) & set(self.figure_names)),
            **{
                f"plot_{name}": int(name in self.figure_names)
                for name in FIGURES
                if name not in (*SCORE_FIGURES, *READING_FIGURES)
            },
            "write_paper": 1,
            "compile_paper": 1,
            "write_front": 1,
        }

    # What a job rests on, as parameters of its rule: it runs again when one of these changes.

    def content_sha256(self, dataset: str) -> str:
        """Hash the settings that shape a dataset's shards."""
        return fingerprint(content_settings(self.config, dataset))

    def pretraining_sha256(self, variant_name: str) -> str:
        """Hash the settings that shape a pretrained model."""
        return fingerprint(pretraining_settings(self.config, variant_name))

    def cell_sha256(self, cell: Cell) -> str:
        """Hash the settings that a cell reads: `config_sha256` of its result file."""
        return fingerprint(cell_settings(self.config, cell))

    def code_sha256(
        self,
        command: str,
        dataset: str | None = None,
        method: str | None = None,
        experiment: str | None = None,
    ) -> str:
        """Hash the code that ``cldtrans <command>`` executes.

        Parameters
        ----------
        command : str
            Name of the command.
        dataset : str, optional
            Which it works on.
        method, experiment : str, optional
            What it scores, and in which experiment.
        """
        return self._digest(self.roots(command, dataset, method, experiment))

    def roots(
        self,
        command: str,
        dataset: str | None = None,
        method: str | None = None,
        experiment: str | None = None,
    ) -> Roots:
        """Return the modules that such a job imports by name; all others follow from theirs.

        Arguments as in `code_sha256`.
        """
        executed, asked, own = self._code.command(command), [], self.config.dataset_classes
        if command == "train-stage1" and method is not None:
            asked = [root for name in self.read_by_stage1(method) for root in self._code.dataset(name, own)]
        elif command == "known-lags" and dataset is not None:
            executed += self._code.known_set(dataset)
        elif command == "audit":  # asks every dataset of the run
            asked = [root for name in self.config.datasets for root in self._code.dataset(name, own)]
        elif dataset in self.config.zeroshot.intracranial:
            executed += self._code.reader(dataset)
        elif command in READS_DATASET and dataset is not None:
            executed += self._code.dataset(dataset, own)
        elif command in ASKS_DATASET and dataset is not None:
            asked = self._code.dataset(dataset, own)
        if method is not None and experiment is not None:
            executed += self._code.factory(spec_of(self.config, method, ROLES[experiment]))
            if method in self.config.methods:  # a setting may name a module or factory, too
                named = self.config.methods[method].settings.values()
                modules = [name.partition(":")[0] for name in named if isinstance(name, str)]
                executed += [name for name in modules if self._code.is_module(name)]
                if self.config.methods[method].finetune is not None:
                    executed += self._code.factory(STRATEGY)
        return Roots(tuple(executed), tuple(asked))

    def script_sha256(self, name: str) -> str:
        """Hash the code that a script executes."""
        return self._digest(self.script_roots(name))

    def script_roots(self, name: str) -> Roots:
        """Return the script, as a root."""
        return Roots((Path(name).stem,))

    def closure(self, roots: Roots) -> set[str]:
        """Return the first-party modules that a job may import."""
        return self._code.closure(roots)

    def titles(self) -> dict[str, str]:
        """Return datasets and methods as tables and figures call them."""
        own = self.config.dataset_classes
        found = {name: chosen_dataset(name, own).title for name in self.config.datasets}
        found |= {name: method.title for name, method in self.config.methods.items() if method.title}
        zones = {cell.dataset for cell in self.cells} & set(self.config.zeroshot.intracranial)
        found |= {name: get_reader(name).title for name in sorted(zones)}
        known = {cell.dataset for cell in self.cells if cell.experiment == "known_lags"}
        return found | {name: sets.get_reader(name).title for name in sorted(known)}

    def templates_sha256(self) -> str:
        """Hash the templates of the draft."""
        files = sorted((self.scripts.parent / "report" / "paper").iterdir())
        return fingerprint({path.name: sha256_file(path) for path in files})

    def captions_sha256(self) -> str:
        """Hash the captions of the report."""
        files = sorted((self.scripts.parent / "report").glob("*.rst"))
        return fingerprint({path.name: sha256_file(path) for path in files})

    @cached_property
    def _asked(self) -> set[str]:
        """Names of the methods that a cell asks for."""
        return {cell.method for cell in self.cells}

    @cached_property
    def _by_target(self) -> dict[str, set[Cell]]:
        found: dict[str, set[Cell]] = {}
        for block in self.config.experiments:
            axes = product(block.datasets, block.methods, block.budgets, block.seeds)
            found.setdefault(block.target, set()).update(Cell(block.experiment, *axis) for axis in axes)
        return found

    def _digest_of(self, roots: Roots) -> str:
        return self._code.digest(roots)
