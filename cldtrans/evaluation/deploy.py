"""A trained network as files that run without torch: exported, quantised, timed, and scored on held-out data.

Variants: `fp32`, what torch's exporter makes (dynamo); `fp16`, half precision inside and single outside; and
`int8`, matrices of whole numbers by onnxruntime's dynamic quantisation. Each is scored on the test windows by
the task's primary metric; one that loses more than the tolerance is refused, and its file deleted. Latency is
that of one window with one thread, which is part of the file's metadata: two threads on a busy core wait for
each other. bfloat16 is not among the variants: onnxruntime has no kernels for it on a CPU.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cldtrans.config import Config
from cldtrans.data.shards import ShardSet
from cldtrans.errors import ConfigError, DataError
from cldtrans.evaluation.fewshot import labelled_parts, make_classifier, task_of, unfit
from cldtrans.evaluation.predictions import predictions_of, score_predictions
from cldtrans.files import atomic_path, sha256_file, write_json
from cldtrans.methods.windows import LabelledWindows, in_batches
from cldtrans.scoring.metrics import PRIMARY
from cldtrans.scoring.summary import LOWER_IS_BETTER

VARIANTS = ("fp32", "fp16", "int8")
THREADS = 1
WARM, TIMED = 20, 200
BATCH = 64


def deploy(
    config: Config,
    *,
    dataset: str,
    method: str,
    seed: int,
    tolerance: float,
    shards: Path,
    split: Path,
    network: Path,
    output: Path,
    start: Path | None = None,
) -> dict[str, Any]:
    """Export a network, measure every variant, and write them with `deploy.json`.

    Parameters
    ----------
    config : Config
        Settings of the run.
    dataset, method, seed
        What the network learned.
    tolerance : float
        Most that a variant may lose.
    shards : Path
        The dataset's shard folder.
    split : Path
        csv: subject, split.
    network : Path
        Its weights (`trained_network`).
    output : Path
        Folder to write.
    start : Path, optional
        What the network started from.

    Returns
    -------
    dict
        Content of `deploy.json`: the network's own score, and of each variant its score, the change, p50 and
        p95 of the latency in milliseconds, bytes, sha256, or why it is refused.
    """
    windows = ShardSet(shards)
    parts, problem = labelled_parts(windows, dataset, split, "1.0", seed, None)
    if parts is None or (problem := unfit(task_of(windows), parts[0], parts[2])):
        raise DataError(f"{dataset}: nothing to score {method} on: {problem}")
    train, val, test = parts
    classifier: Any = make_classifier(config, method, windows, seed, THREADS, None, None, start)
    answering = classifier.restored(network, train)
    task = task_of(windows)
    metric = PRIMARY[task.kind]

    def inputs(of: LabelledWindows, which: np.ndarray) -> np.ndarray:
        return classifier.inputs(of, which).cpu().numpy()

    def score(predict: Callable[[np.ndarray], np.ndarray]) -> float | None:
        guesses = []
        for part in (val, test):
            rows = np.arange(len(part))
            found = [predict(inputs(part, rows[some])) for some in in_batches(len(rows), BATCH)]
            guesses.append(np.concatenate(found) if found else np.zeros((0, len(task.classes))))
        proba_val = guesses[0] if len(val) else None
        kept = predictions_of(windows, val, proba_val, test, guesses[1], seed)
        return score_predictions(kept).metrics[metric]

    own = score(lambda x: answering(torch.from_numpy(x)).detach().numpy())
    example = inputs(test, np.arange(1))
    about = {
        "method": method,
        "dataset": dataset,
        "classes": list(task.classes),
        "channels": list(windows.channels),
        "rate_hz": windows.rate_hz,
        "threads": THREADS,
    }
    record: dict[str, Any] = {**about, "metric": metric, "score": own, "tolerance": tolerance, "variants": {}}
    with atomic_path(output) as folder:
        folder.mkdir(parents=True)
        for name, path in export(answering, example, folder, about).items():
            session = open_session(path)
            found = score(partial(_predicted, session))
            row: dict[str, Any] = {"score": found, "bytes": path.stat().st_size, "sha256": sha256_file(path)}
            row |= latency(session, example)
            change = None if own is None or found is None else found - own
            lost = 0.0 if change is None else change * (1 if metric in LOWER_IS_BETTER else -1)
            row["change"] = change
            if lost > tolerance:
                row["refused"] = f"{metric} is worse by {lost:.4f}, more than {tolerance:g}"
                path.unlink()
            record["variants"][name] = row
        write_json(folder / "deploy.json", record)
    return record


def export(
    module: torch.nn.Module, example: np.ndarray, folder: Path, about: dict[str, Any]
) -> dict[str, Path]:
    """Write every variant of a network.

    Parameters
    ----------
    module : Module
        Input [B, ...] to output [B, K], in evaluation mode.
    example : array [1, ...] of float32
        An input; the batch may be of any size, the rest is as here.
    folder : Path
        Gets `<variant>.onnx`.
    about : dict
        Becomes each file's metadata.

    Returns
    -------
    dict of Path
        By variant.

    Raises
    ------
    ConfigError
        Where onnx is not installed.
    DataError
        For a network with an operation that ONNX does not have.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch's exporter needs it
        from onnxruntime.quantization import QuantType, quantize_dynamic
        from onnxruntime.quantization.shape_inference import quant_pre_process
        from onnxruntime.transformers.float16 import convert_float_to_float16
    except ModuleNotFoundError as error:
        raise ConfigError(f"no module {error.name!r}: pip install 'cldtrans[deploy]' to export") from None
    paths = {name: folder / f"{name}.onnx" for name in VARIANTS}
    batch = torch.export.Dim("batch", min=1, max=4096)
    two = torch.from_numpy(np.repeat(example, 2, axis=0))  # of one alone the batch would become a constant
    try:
        program = torch.onnx.export(
            module,
            (two,),
            dynamo=True,
            input_names=["x"],
            output_names=["y"],
            dynamic_shapes=({0: batch},),
            verbose=False,
        )
    except Exception as error:  # whatever the exporter stumbles over
        raise DataError(f"the network cannot be exported: {' '.join(str(error).split())[:300]}") from error
    assert program is not None
    program.save(str(paths["fp32"]))
    onnx.save(convert_float_to_float16(onnx.load(paths["fp32"]), keep_io_types=True), paths["fp16"])
    prepared = folder / "prepared.onnx"
    quant_pre_process(str(paths["fp32"]), str(prepared))
    quantize_dynamic(
        str(prepared),
        str(paths["int8"]),
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul", "Gemm"],
    )
    prepared.unlink()
    for path in paths.values():
        model = onnx.load(path)
        for node in model.graph.node:  # where in torch's code each comes from: larger than a small network
            del node.metadata_props[:]
            node.doc_string = ""
        for key, value in about.items():
            model.metadata_props.add(key=key, value=json.dumps(value))
        onnx.save(model, path)
    for rest in folder.glob("*.data"):
        rest.unlink()  # weights that were beside a file and now are in it
    return paths


def open_session(path: Path) -> Any:
    """Open an artefact with the threads of its metadata."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = THREADS
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _predicted(session: Any, x: np.ndarray) -> np.ndarray:
    return session.run(None, {"x": x})[0]


def latency(session: Any, example: np.ndarray) -> dict[str, float]:
    """Return p50 and p95 of the time of one input, in milliseconds, after a warm-up."""
    times = []
    for run in range(WARM + TIMED):
        begin = time.perf_counter()
        session.run(None, {"x": example})
        if run >= WARM:
            times.append(1e3 * (time.perf_counter() - begin))
    low, high = np.percentile(times, [50, 95])
    return {"p50_ms": round(float(low), 3), "p95_ms": round(float(high), 3)}
