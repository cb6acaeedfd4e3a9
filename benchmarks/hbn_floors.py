"""What is predicted of HBN-EEG without any EEG: benchmarks/hbn_floors.py [FOLDER].

FOLDER holds ds005508 (release 4, which is fitted) and ds005509 (release 5, which is scored), as OpenNeuro has
them; tables alone are read.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from report import DOCS, add_write_option, publish

from cldtrans.baselines.metadata_floor import mean_of_earlier, ridge_floor
from cldtrans.data.hbn.participants import FACTORS, read_participants, split_by_release
from cldtrans.data.hbn.trials import NO_PRESS, NO_TARGET, read_trials
from cldtrans.scoring.regression import regression

PAGE = DOCS / "hbn.md"
FOLDER = DOCS.parent.parent / "shared" / "hbn"
TRAINING, VALIDATION = "ds005508", "ds005509"
PERSON = ["age", "male", "ehq_total"]
DESIGN = ["foreperiod_s", "run", "trial"]
# Teams KUL_EEG and JLShen, 0.88668 and 0.97843 at https://eeg2025.github.io/leaderboard: with EEG, on a
# hidden release.
WINNERS = {"response_time_s": 0.887, "externalizing": 0.978}


def labelled_trials(trials: pd.DataFrame, persons: pd.DataFrame) -> pd.DataFrame:
    """Return trials with a response time, what is known of each person, and the means of earlier ones."""
    table = trials[trials["problem"] == ""].merge(persons, on="subject", validate="many_to_one")
    time = table["response_time_s"].to_numpy()
    return table.assign(
        earlier=mean_of_earlier(time, table["subject"].to_numpy(dtype=str)),
        earlier_in_run=mean_of_earlier(
            time, (table["subject"] + table["run"].astype(str)).to_numpy(dtype=str)
        ),
    )


def persons_of(folder: Path) -> pd.DataFrame:
    """Return the persons of a release, sex as a number."""
    persons = read_participants(folder)
    return persons.assign(male=(persons["sex"] == "M").astype(float))


def by_ridge(train: pd.DataFrame, held_out: pd.DataFrame, columns: list[str], target: str) -> np.ndarray:
    """Predict held-out targets [m] from columns."""
    return ridge_floor(
        train[columns].to_numpy(dtype=float),
        train[target].to_numpy(),
        train["subject"].to_numpy(dtype=str),
        held_out[columns].to_numpy(dtype=float),
    )


def floors(train: pd.DataFrame, held_out: pd.DataFrame, target: str) -> dict[str, np.ndarray]:
    """Return predictions [m] of a target by what they rest on."""
    mean = train[target].mean()
    found = {
        "training mean": np.full(len(held_out), mean),
        "age, sex, handedness": by_ridge(train, held_out, PERSON, target),
    }
    if target in FACTORS:
        return found
    return found | {
        "foreperiod, run, trial": by_ridge(train, held_out, DESIGN, target),
        "mean of earlier trials in the run": held_out["earlier_in_run"].fillna(mean).to_numpy(),
        "mean of earlier trials": held_out["earlier"].fillna(mean).to_numpy(),
        "mean of earlier trials, ridge": by_ridge(train, held_out, ["earlier"], target),
        "all of these": by_ridge(train, held_out, [*PERSON, *DESIGN, "earlier"], target),
    }


def rows_of(challenge: str, train: pd.DataFrame, held_out: pd.DataFrame, target: str) -> list[dict[str, str]]:
    """Return the rows of the table that predict one target."""
    train, held_out = train.dropna(subset=target), held_out.dropna(subset=target)
    rows = []
    for seen, predicted in floors(train, held_out, target).items():
        scores = regression(
            held_out[target].to_numpy(),
            predicted,
            held_out["subject"].to_numpy(dtype=str),
            of_subjects=target in FACTORS,
        )
        low, high = scores.ci95["nrmse"] or (np.nan, np.nan)
        r = scores.metrics["pearson_r"]
        rows.append(
            {
                "challenge": challenge,
                "predicted": target.removesuffix("_s").replace("_", " "),
                "from": seen,
                "nRMSE": f"{scores.metrics['nrmse']:.3f} [{low:.3f}, {high:.3f}]",
                "r": "" if r is None else f"{r:.2f}",
                "winner": f"{WINNERS[target]:.3f}" if target in WINNERS else "",
            }
        )
    return rows


def counts(release: str, trials: pd.DataFrame) -> dict[str, str]:
    """Return the row of a release in the table of trials."""
    labelled = trials[trials["problem"] == ""]
    time = labelled["response_time_s"]
    lacking = {name: int((trials["problem"] == name).sum()) for name in (NO_TARGET, NO_PRESS)}
    return {
        "release": release,
        "subjects": str(trials["subject"].nunique()),
        "runs": str(trials.groupby(["subject", "run"]).ngroups),
        "trials": str(len(trials)),
        **{name: str(n) for name, n in lacking.items()},
        "unlabelled": f"{sum(lacking.values()) / len(trials):.1%}",
        "hits": f"{labelled['hit'].mean():.1%}",
        "response time, s": f"{time.mean():.3f} ± {time.std():.3f}",
    }


def main() -> None:
    """Read both releases, print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    add_write_option(parser, PAGE)
    args = parser.parse_args()
    persons = {name: persons_of(args.folder / name) for name in (TRAINING, VALIDATION)}
    parts = split_by_release(pd.concat(persons.values()))
    assert [set(parts[persons[name]["subject"]]) for name in persons] == [{"train"}, {"val"}]
    trials = {name: read_trials(args.folder / name) for name in persons}
    labelled = {name: labelled_trials(trials[name], persons[name]) for name in persons}
    table = [counts(persons[name]["release"].iloc[0], trials[name]) for name in persons]
    publish("hbn-trials", pd.DataFrame(table), args.write, page=PAGE)
    rows = rows_of("1", labelled[TRAINING], labelled[VALIDATION], "response_time_s")
    for factor in ("externalizing", *(name for name in FACTORS if name != "externalizing")):
        asked = "2" if factor in WINNERS else ""
        rows += rows_of(asked, persons[TRAINING], persons[VALIDATION], factor)
    scored = labelled[VALIDATION]["subject"]
    known = persons[VALIDATION]["externalizing"].notna()
    remark = (
        f"Scored on {len(scored)} trials of {scored.nunique()} subjects (challenge 1), {known.sum()} "
        "subjects (factors); 95 % intervals by bootstrap over subjects."
    )
    publish("hbn-floors", pd.DataFrame(rows), args.write, remark, PAGE)


if __name__ == "__main__":
    main()
