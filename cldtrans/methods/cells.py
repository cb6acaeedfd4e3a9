"""One cell of the plan: who is scored on what, and the settings that this reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cldtrans.config import Config, content_settings, pretraining_settings
from cldtrans.config.settings import TUNED
from cldtrans.data import chosen_dataset
from cldtrans.methods.factories import ROLES, configured


@dataclass(frozen=True, order=True)
class Cell:
    """Place of one result file in the plan.

    Attributes
    ----------
    experiment : str
        What is done.
    dataset : str
        A registered dataset; for identifiability a world's name.
    method : str
        A method of the config, or a variant of our model.
    budget : str
        Fraction of the labels, as written; "0": none.
    seed : int
        Of split, training and sampling.
    """

    experiment: str
    dataset: str
    method: str
    budget: str
    seed: int

    def path(self, run: str) -> str:
        """Return its file, from the folder of the workflow."""
        return (
            f"results/{run}/{self.experiment}/{self.dataset}/{self.method}/budget-{self.budget}"
            f"/seed-{self.seed}.json"
        )


def cell_settings(config: Config, cell: Cell) -> dict[str, Any]:
    """Return every setting that the cell, or a job that it rests on, reads.

    Its own place in the plan is none of them. Equal cells of two plans have equal settings, whatever else the
    plans hold, wherever their data come from and however many jobs share the work.
    """
    if cell.experiment == "identifiability":
        return _method(config, cell) | _world(config, cell.dataset)
    if cell.experiment == "known_lags":
        return _method(config, cell) | {"few_channels": cell.method in config.known_lags.few_channels}
    if cell.dataset in config.zeroshot.intracranial:
        zones = config.zeroshot.intracranial[cell.dataset].model_dump(mode="json", exclude={"folder"})
        return {"intracranial": zones} | _method(config, cell)
    settings = {"dataset": content_settings(config, cell.dataset)} | _method(config, cell)
    if cell.experiment in ("planted", "lead_robustness"):
        settings["planted"] = config.planted.model_dump(mode="json")
    elif cell.experiment == "zeroshot" and _focal_truth(config, cell.dataset) == "annotation":
        settings["annotations"] = config.zeroshot.annotations
    if cell.experiment in ("robustness", "lead_robustness"):
        settings["robustness"] = config.robustness.model_dump(mode="json")
    return settings


def _focal_truth(config: Config, dataset: str) -> str:
    return chosen_dataset(dataset, config.dataset_classes).focal_truth


def _method(config: Config, cell: Cell) -> dict[str, Any]:
    role = ROLES[cell.experiment]
    found = configured(config, cell.method, role)
    search = {"search": config.search.model_dump(mode="json")} if role == "classifier" else {}
    if found is not None:
        factory, method = found
        settings: dict[str, Any] = {"factory": factory, "settings": method.settings} | search
        if method.finetune is not None:
            settings["strategy"] = method.finetune.model_dump(mode="json")
        if method.start is not None:
            before = Cell(cell.experiment, method.start.dataset, method.start.method, "1.0", cell.seed)
            settings["start"] = {"setting": method.start.setting, **cell_settings(config, before)}
        if method.variant is not None:
            tuned = config.finetuned(cell.method).stage2.model_dump(mode="json", include=set(TUNED))
            settings |= pretraining_settings(config, method.variant) | {"finetune": tuned}
        return settings
    settings = pretraining_settings(config, cell.method)
    if role == "classifier":
        stage2 = config.stage2.model_dump(mode="json", include=set(TUNED))
        settings["finetune"] = stage2 | search if config.stage2.finetune_steps else {"finetune_steps": 0}
    return settings


def _world(config: Config, name: str) -> dict[str, Any]:
    return {"world": {"tau_max_s": config.identifiability.tau_max_s, **config.identifiability.worlds[name]}}
