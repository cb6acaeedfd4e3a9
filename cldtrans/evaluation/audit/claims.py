"""Whether a method fitted as many parameters as what it calls itself has."""

from __future__ import annotations

from typing import Any

from cldtrans.data.base import Task
from cldtrans.evaluation.audit.finding import Finding, judged


def probe_parameters(task: Task, n_features: int) -> int:
    """Count weights and biases of a linear probe: one row a class, or one for a yes/no question.

    Times to an event share one row of weights and have a bias an interval.
    """
    if task.kind == "time_to_event":
        return n_features + len(task.classes)
    return (1 if task.kind == "binary" else len(task.classes)) * (n_features + 1)


def fitted_parameters(record: dict[str, Any], task: Task, n_features: int, *, probed: bool) -> Finding:
    """Compare the fitted parameters of one result with the method's claim.

    Parameters
    ----------
    record : dict
        A result file of a variant of the model.
    task : Task
        What it predicts.
    n_features : int
        Features that its probe sees.
    probed : bool
        True where it calls itself a linear probe, False where the whole network is fine-tuned.
    """
    of = "/".join(str(record[key]) for key in ("experiment", "dataset", "method", "budget", "seed"))
    count, linear = record["parameters"], probe_parameters(task, n_features)
    expected = (
        f"a linear probe: {linear} parameters" if probed else f"fine-tuned: more than {linear} parameters"
    )
    if count is None:
        reason = "the result names no number: nothing was fitted"
        return Finding("trainable parameters", of, "not checked", expected, reason)
    wrong = count != linear if probed else count <= linear
    return judged(
        "trainable parameters",
        of,
        f"{count} were fitted" if wrong else "",
        expected=expected,
        fine=f"{count} were fitted",
    )
