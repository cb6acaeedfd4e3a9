"""Where the weights of a scored method began, and whether they saw the data on which it is scored."""

from __future__ import annotations

from typing import Any

from cldtrans.config import DIVISIONS, Config, variant
from cldtrans.data import chosen_dataset
from cldtrans.methods.cells import Cell


def origin(config: Config, cell: Cell, classifier: Any) -> dict[str, Any]:
    """Return what a row has to say of its weights: where they start, and whether they saw the test data.

    Our own model is pretrained on training subjects where a corpus has official folds for it, and otherwise
    on every subject of its corpora, without labels. The dataset's own division alone holds out those folds.
    """
    method, dataset = cell.method, cell.dataset
    own = config.variant_of(method)
    if own is not None:
        corpora = variant(config, own)[1].datasets
        seen = dataset in corpora and (  # asked of corpora alone: intracranial sets are no datasets
            cell.experiment in DIVISIONS
            or chosen_dataset(dataset, config.dataset_classes).training_folds is None
        )
        found = {"start": f"pretrained on {', '.join(corpora)}", "saw_test_data": "yes" if seen else "no"}
    else:
        seen_by = getattr(classifier, "saw_test_data", "no")  # by dataset where the user names a checkpoint
        if not isinstance(seen_by, str):
            seen_by = seen_by.get(dataset, "unknown")
        found = {"start": getattr(classifier, "start", "from scratch"), "saw_test_data": seen_by}
    if getattr(classifier, "trainable_parameters", None) is not None:
        found["trainable_parameters"] = classifier.trainable_parameters
    return found
