"""A method of one's own, scored like every other: a classifier, named as module:factory in the config.

python examples/own_method.py [folder]    (in the workflow: the entry stands in an overlay, docs/extending.md)
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from cldtrans import config
from cldtrans.data import get_dataset
from cldtrans.data.miniature import write_miniature
from cldtrans.data.preprocess import preprocess_batch
from cldtrans.data.shards import merge_parts
from cldtrans.data.splits import make_split, read_index, write_split
from cldtrans.evaluation.fewshot import run_fewshot
from cldtrans.methods.windows import LabelledWindows


class Amplitudes:
    """Logistic regression on each channel's log amplitude in four parts of a window."""

    def __init__(self, task, channels, sample_rate, modality, seed, threads, strength: float) -> None:
        self.model, self.parameters = LogisticRegression(C=strength), None  # or their number, to be told

    def fit(self, train: LabelledWindows, val: LabelledWindows) -> None:
        self.model.fit(self._describe(train), train.y)

    def predict_proba(self, windows: LabelledWindows) -> np.ndarray:
        return self.model.predict_proba(self._describe(windows))

    def _describe(self, windows: LabelledWindows) -> np.ndarray:
        parts = np.stack(np.array_split(windows.x(), 4, axis=-1), axis=1)  # [n, 4, C, T / 4]
        return np.log(parts.std(axis=-1) + 1e-3).reshape(len(windows), -1)


def main(folder: Path) -> None:
    plan = config.load_any([]).model_dump(mode="json")  # the paper's
    plan["methods"]["amplitudes"] = {"classifier": "own_method:Amplitudes", "settings": {"strength": 0.3}}
    plan["preprocess"]["chbmit"] |= {"shards": 1, "batches": 1}
    settings = config.parse(plan)
    write_miniature(folder / "mirror", "tiny")  # laid out like the bucket, and like downloaded files
    dataset, shards, split = get_dataset("chbmit"), folder / "shards", folder / "split.csv"
    how = settings.preprocess["chbmit"]
    preprocess_batch(dataset, folder / "mirror", how, 0, shards, {"status": "ok"}, progress=False)
    merge_parts(dataset, how, shards)
    write_split(split, make_split(dataset, read_index(dataset, shards), seed=42))
    record = run_fewshot(
        settings, dataset="chbmit", method="amplitudes", budget="1.0", seed=42, shards=shards, split=split,
        output=folder / "result.json",
    )  # fmt: skip
    for metric, chance in record["chance"].items():
        print(f"{metric:22}{record['metrics'][metric]!s:22}chance {chance}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "method-example"))
