"""Zero-shot localization of the channel that leads a discharge, in five grades of truth that are never mixed.

`planted`: a discharge with known lead in real interictal EEG (top-1/3/5 at each signal-to-noise ratio).
`zeroshot` on Siena: lobe and side against the clinicians', chance being the majority's. `zeroshot` on
CHB-MIT: top-1/3/5 against a table the user supplies, and, as a proxy that needs no truth, whether a
patient's seizures agree on their lead and whether the lead is the channel whose line length rises first.
`zeroshot` on a set of intracranial recordings: top-1/3/5 against the clinicians' onset zone, chance being the
zone's share of the channels, and how well the scores tell the zone from the rest (`zone_auroc`).
Every value is a mean over patients of their seizures'.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from cldtrans.config import Config
from cldtrans.data import chosen_dataset
from cldtrans.data.intracranial import ZoneSet
from cldtrans.data.shards import ShardSet
from cldtrans.errors import DataError
from cldtrans.evaluation.annotations import read_annotations
from cldtrans.evaluation.cases import (
    Case,
    Readouts,
    cases_of,
    make_readouts,
    plant,
    planted_cases,
    seizure_cases,
    zone_cases,
)
from cldtrans.evaluation.cell import write_cell
from cldtrans.evaluation.degradations import conditions
from cldtrans.evaluation.origin import origin
from cldtrans.evaluation.planted import standardised
from cldtrans.files import atomic_path
from cldtrans.machine import limit_threads
from cldtrans.methods.cells import Cell
from cldtrans.scoring.intervals import mean_over_subjects, of_subject_means
from cldtrans.scoring.leads import TOPS, chance_hit, hit, winner
from cldtrans.scoring.metrics import Scores
from cldtrans.scoring.regions import lobe_of, side_of

_TOP_NAMES = tuple(f"top{k}" for k in TOPS)
_NAMES = {
    "planted": _TOP_NAMES,
    "region": ("lobe_accuracy", "side_accuracy"),
    "annotation": (*_TOP_NAMES, "consistency_top1", "agreement_line_length"),
    "zone": (*_TOP_NAMES, "zone_auroc"),
}


def run_focal_lead(
    config: Config,
    *,
    experiment: str,
    dataset: str,
    method: str,
    seed: int,
    shards: Path | None,
    output: Path,
    checkpoint: Path | None = None,
    threads: int = 1,
    details: Path | None = None,
) -> dict[str, Any]:
    """Score one cell and write its result file.

    Parameters
    ----------
    config : Config
        Settings of the run.
    experiment : one of "planted", "zeroshot", "lead_robustness"
        The grade of truth; the last: planted, and then degraded.
    dataset, method, seed
        The cell.
    shards : Path or None
        The dataset's shard folder; None for a set of intracranial recordings.
    output : Path
        The result file.
    checkpoint : Path, optional
        Folder of a variant's stage-1 model.
    threads : int
        Part of a CPU result's last bits.
    details : Path, optional
        Also a csv with one row a seizure or discharge.

    Returns
    -------
    dict
        The record as written.
    """
    zones = config.zeroshot.intracranial.get(dataset)
    if zones is not None and experiment != "zeroshot":
        raise DataError(f"{dataset} is a set of intracranial recordings, of the experiment zeroshot alone")
    if zones is None and shards is None:
        raise DataError(f"{dataset}: its shard folder is needed (--shards)")
    windows = ZoneSet(dataset, zones) if zones is not None else ShardSet(Path(str(shards)))
    truth = "zone" if zones is not None else chosen_dataset(dataset, config.dataset_classes).focal_truth
    names = _NAMES["planted" if experiment in ("planted", "lead_robustness") else truth]
    scores, cases, model = Scores(), [], None
    if windows.reason is not None:
        scores.undefined(names, f"{dataset}: {windows.reason}")
    else:
        channels = windows.channels if isinstance(windows, ShardSet) else ()
        readouts = make_readouts(config, method, windows.modality, checkpoint, threads, channels)
        model = readouts.readout
        limit_threads(threads)
        if isinstance(windows, ZoneSet):
            try:
                cases = zone_cases(windows.seizures, readouts, windows.rate_hz)
            except DataError as error:  # windows as short as some have are too few samples for a fit
                scores.undefined(names, f"{dataset}: {method} cannot read its windows: {error}")
            else:
                scores = grade_zones(cases)
        elif experiment == "lead_robustness":
            scores, cases = degraded_leads(config, windows, readouts, seed)
        elif experiment == "planted":
            cases = planted_cases(windows, readouts, config.planted.snr_db, config.planted.trials, seed)
            scores = grade_planted(cases)
        else:
            cases = seizure_cases(windows, readouts)
            scores = grade_seizures(config, truth, windows.channels, cases, names)
    if details is not None:
        _write_details(details, cases)
    n = {
        "train": 0,
        "val": 0,
        "test": len(cases),
        "subjects": {"train": 0, "val": 0, "test": len({case.subject for case in cases})},
    }
    cell = Cell(experiment, dataset, method, "0", seed)
    has_weights = config.variant_of(method) is not None or hasattr(model, "start")
    return write_cell(
        output,
        cell,
        config,
        scores,
        n,
        windows=windows,
        checkpoint=checkpoint,
        scored=model,
        notes=windows.notes if isinstance(windows, ZoneSet) else [],
        extra=origin(config, cell, model) if has_weights else None,
    )


def grade_planted(cases: list[Case]) -> Scores:
    """Compute top1/3/5 over all levels, and `top1_<level>db` of each.

    Other readouts of a model are `top1:<name>`.
    """
    scores = Scores()
    if not cases:
        scores.undefined(_TOP_NAMES, "no interictal window without flat channels")
        return scores
    levels = sorted({case.snr_db for case in cases if case.snr_db is not None})
    _add_tops(scores, cases, "")
    for level in levels if len(levels) > 1 else ():
        _add_tops(scores, [case for case in cases if case.snr_db == level], f"_{level:g}db")
    return scores


def degraded_leads(
    config: Config, windows: ShardSet, readouts: Readouts, seed: int
) -> tuple[Scores, list[Case]]:
    """Score planted discharges as recorded, and degraded together with their background.

    Metric keys are `top<k>` and `top<k>@<condition>`. The lead's channel is never among those that are lost.
    In a montage of electrodes the lead is either electrode of the bipolar channel. Random parts are drawn for
    each discharge from the seed and its number.
    """
    scores = Scores()
    level, trials = [config.robustness.discharge_db], config.planted.trials
    by_condition: dict[str, list[Case]] = {}
    for one in plant(windows, level, trials, seed):
        found = readouts.of_windows(one.x, one.mask, windows.rate_hz, one.background)
        cases = cases_of(one, found, one.mask, one.channels, [{lead} for lead in one.leads])
        by_condition.setdefault("", []).extend(cases)
        for condition in conditions(config.robustness, one.channels):
            channels = condition.channels or one.channels
            x, mask, background = [], [], []
            for k, lead in enumerate(one.leads):
                rng = np.random.default_rng([seed, one.numbers[k]])
                together = np.concatenate([one.x[k : k + 1], one.background[k]])
                degraded, left = condition.apply(together, one.mask[k], windows.rate_hz, rng, (lead,))
                _, deviation = standardised(degraded[0])
                degraded = (degraded / deviation).astype(np.float32)
                x.append(degraded[0])
                mask.append(left)
                background.append(degraded[1:])
            valid = np.stack(mask)
            found = readouts.named(channels).of_windows(np.stack(x), valid, windows.rate_hz, background)
            truth = [
                {lead} if condition.channels is None else _ends(one.channels[lead], channels)
                for lead in one.leads
            ]
            cases = cases_of(one, found, valid, channels, truth)
            by_condition.setdefault(f"@{condition.name}", []).extend(cases)
    if not by_condition:
        scores.undefined(_TOP_NAMES, "no interictal window without flat channels")
    for suffix, cases in by_condition.items():
        _add_tops(scores, cases, suffix)
    return scores, by_condition.get("", [])


def _ends(channel: str, electrodes: tuple[str, ...]) -> set[int]:
    """Return the places of a bipolar channel's two electrodes."""
    return {electrodes.index(name) for name in channel.split("-")}


def grade_zones(cases: list[Case]) -> Scores:
    """Judge intracranial seizures by their onset zone: whether it holds one of the k channels named first.

    `zone_auroc` is the probability that a channel of the zone scores above one outside.
    """
    scores = Scores()
    _add_tops(scores, cases, "")
    told = []
    for case in cases:
        score = case.scores[""]
        inside = np.isin(np.arange(len(score)), sorted(set.union(*(case.truth or [set()]))))
        shown = np.isfinite(score)
        one = inside[shown].all() or not inside[shown].any()
        told.append(np.nan if one else roc_auc_score(inside[shown], score[shown]))
    judged = [k for k, value in enumerate(told) if np.isfinite(value)]
    if judged:
        _add(scores, "zone_auroc", [told[k] for k in judged], [cases[k] for k in judged], [0.5] * len(judged))
    else:
        scores.undefined(["zone_auroc"], "no seizure with channels inside and outside of its zone")
    return scores


def grade_seizures(
    config: Config, truth: str, channels: tuple[str, ...], cases: list[Case], names: tuple[str, ...]
) -> Scores:
    """Judge seizures by what is known of their focus: lobe and side, or the annotation, and consistency.

    Parameters
    ----------
    config : Config
        Names the annotations.
    truth : one of "annotation", "region"
        What is known.
    channels : tuple of str
        Names of the C channels.
    cases : list of Case
        From `seizure_cases`.
    names : tuple of str
        Of the metrics.
    """
    scores = Scores()
    if not cases:
        scores.undefined(names, "no seizure in the recordings present")
        return scores
    if truth == "region":
        _add_region(scores, cases, "lobe", [lobe_of(name) for name in channels])
        _add_region(scores, cases, "side", [side_of(name) for name in channels])
        return scores
    if config.zeroshot.annotations is None:
        scores.undefined(_TOP_NAMES, "no annotation supplied")
    else:
        table = read_annotations(config.zeroshot.annotations, channels)
        for case in cases:
            case.truth = table.get((case.recording, case.number))
        judged = [case for case in cases if case.truth]
        if judged:
            _add_tops(scores, judged, "")
        else:
            scores.undefined(_TOP_NAMES, f"the annotation names none of the {len(cases)} seizures present")
    _add_consistency(scores, cases)
    _add_agreement(scores, cases)
    return scores


def _add_tops(scores: Scores, cases: list[Case], suffix: str) -> None:
    for readout in cases[0].scores:
        if readout == "line_length":
            continue
        for k in TOPS if not readout else TOPS[:1]:
            hits = [
                np.mean([hit(case.scores[readout], one, k) for one in case.truth or ()]) for case in cases
            ]
            chance = [
                np.mean(
                    [
                        chance_hit(int(np.isfinite(case.scores[readout]).sum()), len(one), k)
                        for one in case.truth or ()
                    ]
                )
                for case in cases
            ]
            _add(scores, f"top{k}{suffix}{':' + readout if readout else ''}", hits, cases, chance)


def _add_region(scores: Scores, cases: list[Case], what: str, of_channel: list[str | None]) -> None:
    known = [case for case in cases if getattr(case, what)]
    name = f"{what}_accuracy"
    if not known:
        scores.undefined([name], f"no {what} on record for the seizures present")
        return
    hits = [
        float(
            sum(
                p
                for p, region in zip(winner(case.scores[""]), of_channel, strict=True)
                if region == getattr(case, what)
            )
        )
        for case in known
    ]
    by_subject = {case.subject: getattr(case, what) for case in known}
    shares = np.unique(list(by_subject.values()), return_counts=True)[1] / len(by_subject)
    _add(scores, name, hits, known, None)
    scores.chance[name] = float(shares.max())  # the majority guess


def _add_consistency(scores: Scores, cases: list[Case]) -> None:
    """Score that two seizures of one patient name the same lead; chance: two of different patients do."""
    leads = np.array([winner(case.scores[""]) for case in cases])
    same, agree = {}, leads @ leads.T
    subjects = np.array([case.subject for case in cases])
    for name in np.unique(subjects):
        members = np.flatnonzero(subjects == name)
        if len(members) > 1:
            same[name] = float(np.mean([agree[a, b] for a, b in combinations(members, 2)]))
    if not same:
        scores.undefined(["consistency_top1"], "no patient with two seizures")
        return
    _record(scores, "consistency_top1", np.array(list(same.values())), np.array(list(same)))
    scores.chance["consistency_top1"] = _between(agree, subjects, leads.shape[1])


def _add_agreement(scores: Scores, cases: list[Case]) -> None:
    """Score that the lead is the channel whose line length rises first; chance: that of another patient's."""
    ours = np.array([winner(case.scores[""]) for case in cases])
    rising = np.array([winner(case.scores["line_length"]) for case in cases])
    table = ours @ rising.T
    _add(scores, "agreement_line_length", list(np.diagonal(table)), cases, None)
    scores.chance["agreement_line_length"] = _between(
        table, np.array([case.subject for case in cases]), ours.shape[1]
    )


def _between(table: np.ndarray, subjects: np.ndarray, n_channels: int) -> float:
    different = subjects[:, None] != subjects
    return float(table[different].mean()) if different.any() else 1.0 / n_channels


def _add(scores: Scores, name: str, values: list, cases: list[Case], chance: list | None) -> None:
    subjects = np.array([case.subject for case in cases])
    _record(scores, name, *mean_over_subjects(np.array(values, dtype=float), subjects))
    if chance is not None:
        scores.chance[name] = float(mean_over_subjects(np.array(chance, dtype=float), subjects)[0].mean())


def _record(scores: Scores, name: str, means: np.ndarray, subjects: np.ndarray) -> None:
    scores.metrics[name] = float(means.mean())
    if ":" not in name:  # further readouts of a model are not compared with rivals
        scores.by_subject[name] = dict(zip(subjects.tolist(), means.tolist(), strict=True))
    found = of_subject_means({name: means})
    scores.ci95 |= found.ci95
    scores.reasons |= found.reasons


def _write_details(path: Path, cases: list[Case]) -> None:
    rows = []
    for case in cases:
        order = np.argsort(-case.scores[""], kind="stable")
        rows.append(
            {
                "subject": case.subject,
                "recording": case.recording,
                "number": case.number,
                "snr_db": case.snr_db,
                "truth": "|".join(
                    ";".join(case.channels[c] for c in sorted(one)) for one in case.truth or ()
                ),
                "first": case.channels[order[0]],
                **{
                    f"hit{k}": np.mean([hit(case.scores[""], one, k) for one in case.truth])
                    for k in TOPS
                    if case.truth
                },
            }
        )
    with atomic_path(path) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)
