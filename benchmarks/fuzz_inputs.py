"""Kinds of input for fuzz.py: each writes valid files to a folder, and gives what damages and opens them."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import numpy as np
import yaml
from damage import NONSENSE, NUMBERS, SECRET, damaged, holders, hostile_value
from foreign_files import write_set, write_vhdr

from cldtrans.config import load_any, reading, write_resolved
from cldtrans.data import get_dataset
from cldtrans.data.miniature import write_miniature
from cldtrans.data.miniature.edf_writer import EdfSignal, edf_bytes
from cldtrans.data.miniature.wfdb_writer import write_record
from cldtrans.data.recording import open_recording
from cldtrans.errors import CldtransError
from cldtrans.files import project_folder

LONGEST_MESSAGE = 1000
FORMATS = ["8", "16", "24", "32", "61", "80", "160", "212", "310", "311", "508", "516", "524", "16x4"]
FORMATS += ["16x3000000", "212x2:5", "16:300000000", "16x2:90000", "16+24", "80x4+3", "16+99999999999"]
FORMATS += ["16:1"]
STAMPS = ["+" + "9" * 400, "+" + "0" * 300 + "5", "+0." + "0" * 300 + "1", "+1e3", "-3", "+604800"]
STAMPS += ["+604900", "+9999999999999999", "+5.5", "+", "", "5", "+nan", "+inf", "-" + "9" * 310, "+0"]
STAMPS += ["+1.0000000001", "+600000"]

PIECES = ["&a [*a]", "&a {b: *a}", "*nothing", "? ? ?", "---\na: 1", "2001-99-99", "2001-02-30 25:61:00"]
PIECES += [".inf", "-.inf", ".nan", "!!binary aGk=", "!!binary '='", "!!set {a, b}"]
PIECES += ["!!python/object/apply:os.system [touch x]", "!!timestamp x", "!!int x", "!!float x", "1:99:99"]
PIECES += ["0o777", "'\t", '"\\ud800"', '"\\0"', '"\\x07"', "{? [a]: b}", "{1: 2}", "{null: 2}", "-1", "-5"]
PIECES += ["null", "[]", "{}", "true", "42", '"a\\nb"', "!!omap [a: 1]", "!!null x", "!!bool x", "<<: 3"]
PIECES += ["{<<: 3}", "=", "2**99", "1" * 5000, "tiny", "chbmit"]
CELLS = ["{'NORM': 100.0", "{[]: 1}", "{'NORM'}", "{{}: 1}", "a\nb", '"', "'", "1e18", "9" * 30, "1e308"]
CELLS += ["True", "NA", "None", "{1: 2}", "{('a',): 2}", "\r", ","]

MATLAB: list[Any] = [float(number) for number in NUMBERS] + [
    np.zeros(0),
    np.zeros((3, 0)),
    np.zeros((1, 2, 3)),
]
MATLAB += [*NONSENSE, [], {}, {"labels": "C3"}, [{"type": "x"}], [{"latency": "x", "type": 1.0}]]
MATLAB += [f"../{SECRET}", "r.fdt", "r.eeg", np.full((3, 600), np.inf), np.full((3, 600), 1e300), 1j]

Attempt = Callable[[Random], None]


def edf(folder: Path, bdf: bool = False) -> Attempt:
    """Write EDF and EDF+C files, and EDF+D whose records have pauses between them."""
    draw = np.random.default_rng(0)
    signals = [
        EdfSignal(name, draw.normal(0, 20, 3 * rate), rate, (-100, 100), unit=unit)
        for name, rate, unit in (("EEG C3-P3", 16, "uV"), ("ECG", 16, "mV"), ("Temp", 4, ""))
    ]
    continuous = edf_bytes(signals, annotations=[(0.5, 1.0, "blink")], annotation_samples=300)
    pauses = (
        continuous.replace(b"EDF+C", b"EDF+D").replace(b"+1\x14", b"+5\x14").replace(b"+2\x14", b"+9\x14")
    )
    contents = [edf_bytes(signals), continuous, pauses, pauses]
    contents = [as_bdf(content) for content in contents] if bdf else contents
    path = folder / ("r.bdf" if bdf else "r.edf")

    def attempt(random: Random) -> None:
        content = random.choice(contents)
        n_channels = int(content[252:256])
        fields = edf_fields(n_channels)
        if random.random() < 0.2:
            stamp = random.choice(list(re.finditer(rb"[+-]\d+\x14\x14\0{420}", content)) or [None])
            if stamp is not None:
                text = random.choice(STAMPS).encode() + b"\x14\x14"
                content = content[: stamp.start()] + text.ljust(len(stamp[0]), b"\0") + content[stamp.end() :]
        header = damaged(random, content, 256 * (n_channels + 1), fields, fixed=True)
        path.write_bytes(header)
        read_both_ends(path)

    return attempt


def bdf(folder: Path) -> Attempt:
    """Make the same with 24-bit samples."""
    return edf(folder, bdf=True)


def wfdb(folder: Path) -> Attempt:
    """Write records in formats 16 and 212, of wide frames, of segments with and without layout."""
    draw = np.random.default_rng(0)
    digital = draw.integers(-900, 900, (2, 1500))
    single = folder / "16" / "r"
    write_record(
        single, digital, ["I", "II"], 500, 200.0, record_line="12:00:00 01/01/2000", comments=["note"]
    )
    text = single.with_name("r.hea").read_text()
    samples = single.with_name("r.dat").read_bytes()
    records = {
        "16": {"r": text},
        "212": {"r": text.replace(" 16 200", " 212 200")},
        "frames": {"r": text.replace(" 500 1500", " 125 300").replace(" 16 200", " 16x4 200", 1)},
        "skew": {"r": text.replace(" 500 1500", " 500 1400").replace(" 16 200", " 16:20 200", 1)},
        "fixed": {"r": "r/2 2 500 800\nr_1 500\nr_2 300\n"},
        "layout": {
            "r": "r/4 2 500 900\nlay 0\nr_1 500\n~ 100\nr_2 300\n",
            "lay": "lay 2 500 0\n~ 0 200/mV 16 0 0 0 0 I\n~ 0 200/mV 16 0 0 0 0 II\n",
        },
    }
    for kind in ("fixed", "layout"):
        for name, length in (("r_1", 500), ("r_2", 300)):
            records[kind][name] = text.replace("r 2 500 1500", f"{name} 2 500 {length}")
    for kind, headers in records.items():
        (folder / kind).mkdir(exist_ok=True)
        (folder / kind / "r.dat").write_bytes(samples)
        for name, header in headers.items():
            (folder / kind / f"{name}.hea").write_text(header)

    def attempt(random: Random) -> None:
        kind = random.choice(list(records))
        name = random.choice(list(records[kind]))
        header = records[kind][name].encode()
        if random.random() < 0.2:
            lines = header.splitlines(keepends=True)
            lines.insert(random.randrange(len(lines) + 1), random.choice(lines))
            del lines[random.randrange(len(lines))]
            header = b"".join(lines)
        if random.random() < 0.2:
            header = header.replace(b" 16", f" {random.choice(FORMATS)}".encode(), random.choice([1, -1]))
        tokens = [(m.start(), m.end()) for m in re.finditer(rb"[^\s()/:+x]+|[^\s]+", header)]
        path = folder / kind / f"{name}.hea"
        path.write_bytes(damaged(random, header, len(header), tokens))
        try:
            read_both_ends(path.with_name("r.hea"))
        finally:
            path.write_text(records[kind][name])

    return attempt


def mne(folder: Path) -> Attempt:
    """Write EEGLAB, BrainVision and FIF files; of EEGLAB's, values of the structure are damaged as well."""
    from mne import Annotations, create_info
    from mne.io import RawArray

    x, names, rate_hz = np.random.default_rng(0).normal(0, 20, (3, 600)), ["C3", "Fp1", "EMG"], 200.0
    raw = RawArray(1e-6 * x, create_info(names, rate_hz, "eeg"), verbose="ERROR")
    raw.set_annotations(Annotations([0.5, 1.0], [0.0, 0.5], ["boundary", "BAD_ACQ_SKIP"]))
    paths = [folder / "r_raw.fif", folder / "r.set", folder / "r.vhdr", folder / "r.vmrk"]
    raw.save(paths[0], verbose="ERROR")
    events = [{"type": "boundary", "latency": 100.5, "duration": 20.0}]
    write_set(paths[1], x, names, rate_hz, {"event": events})
    write_vhdr(paths[2], x, names, rate_hz)
    contents = {path: path.read_bytes() for path in paths}
    structure = [
        *("data", "srate", "nbchan", "pnts", "trials", "xmin", "xmax", "chanlocs", "event"),
        "icawinv",
    ]

    def attempt(random: Random) -> None:
        path = random.choice(paths)
        content = contents[path]
        if path.suffix == ".set" and random.random() < 0.5:
            field = random.choice(structure)
            write_set(path, x, names, rate_hz, {"event": events, field: random.choice(MATLAB)})
        else:
            text = path.suffix in (".vhdr", ".vmrk")
            tokens = [match.span() for match in re.finditer(rb"[^\s=,\[\]]+", content)] if text else []
            path.write_bytes(damaged(random, content, len(content), tokens))
        try:
            read_both_ends(path.with_suffix(".vhdr") if path.suffix == ".vmrk" else path)
        finally:
            path.write_bytes(content)

    return attempt


def config(folder: Path) -> Attempt:
    """Damage copies of config/tiny.yaml and of what it resolves to: bytes, values, keys, structure."""
    text = (project_folder() / "config" / "tiny.yaml").read_text()
    settings = yaml.safe_load(text)
    resolved = load_any(["tiny"]).model_dump(mode="json")
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}]\n" for k in range(1, 40))
    merges = "b0: &b0 {x: 1}\n" + "".join(
        f"b{k}: &b{k} {{<<: [*b{k - 1}, *b{k - 1}]}}\n" for k in range(1, 40)
    )
    pieces = ["[" * 3000, "{a: " * 3000, "- " * 3000, bomb, merges, *PIECES]
    path = folder / "c.yaml"
    plain, shipped = reading._read_yaml, cache(reading._read_yaml)

    def read(file: Path) -> Any:
        """Read what is shipped once: it is not what is damaged, and takes most of the time."""
        return shipped(file) if file.is_relative_to(project_folder()) else plain(file)

    def attempt(random: Random) -> None:
        target, way = path, random.random()
        if way < 0.25:
            content = damaged(
                random, text.encode(), len(text), [(m.start(), m.end()) for m in re.finditer(r"[\w.]+", text)]
            )
            if random.random() < 0.2:
                encoding = random.choice(["utf-16", "utf-32", "utf-8-sig", "cp500"])
                content = content.decode("utf-8", "replace").encode(encoding, "replace")
        elif way < 0.55:  # a value or a key of the text becomes a piece of YAML
            places = list(re.finditer(r"(?<=: )[^\s{\[][^,}\]\n]*|\b[a-z_]+(?=:)", text))
            place = random.choice(places)
            piece = random.choice([*pieces, *["-0", "1e-300", "1e400", "µV"]])
            content = (text[: place.start()] + piece + text[place.end() :]).encode("utf-8", "replace")
        elif way < 0.6:
            content = (text + "\n" + random.choice(pieces)).encode("utf-8", "replace")
        else:  # as data, so that hostile values arrive as they are
            target = path.with_suffix(".json") if way > 0.8 else path
            changed = json.loads(json.dumps(settings if target is path else resolved))
            holder, key = random.choice(list(holders(changed)))
            value = hostile_value(random)
            if isinstance(holder, dict) and random.random() < 0.3:
                holder[str(value)[:200]] = holder.pop(key)
            else:
                holder[key] = value
            content = json.dumps(changed).encode()  # JSON is YAML
            if target is not path and random.random() < 0.3:
                content = damaged(random, content, len(content), [])
        target.write_bytes(content)
        with patch.object(reading, "_read_yaml", read):
            found = load_any([target])
        again = load_any([write_resolved(found, folder / "again.json")])
        if again.model_dump_json() != found.model_dump_json():
            raise AssertionError("what was read is not what is written")

    return attempt


def table(folder: Path) -> Attempt:
    """Damage cells of the tables of PTB-XL and MIMIC-IV-ECG, now and then bytes: a bad cell is a bad row."""
    write_miniature(folder / "bucket", "tiny")
    root = folder / "root"
    tables = []
    for name, file, columns in (
        ("ptbxl", "ptbxl_database.csv", ("ecg_id", "patient_id", "scp_codes", "strat_fold", "filename_hr")),
        ("mimic_ecg", "record_list.csv", ("subject_id", "study_id", "path")),
    ):
        dataset = get_dataset(name)
        shutil.copytree(
            dataset.folder(folder / "bucket"),
            dataset.folder(root),
            ignore=shutil.ignore_patterns("records*", "files"),
        )
        with (dataset.folder(root) / file).open(newline="") as lines:
            rows = list(csv.reader(lines))
        tables.append(
            (dataset, dataset.folder(root) / file, rows, [rows[0].index(column) for column in columns])
        )
    shutil.rmtree(folder / "bucket")
    cells = [*NONSENSE, "-" * 20_000, "11", "(" * 3000, "{" * 3000, *CELLS]

    def attempt(random: Random) -> None:
        dataset, path, rows, columns = random.choice(tables)
        changed = [list(row) for row in rows]
        k = random.randrange(1, len(rows))
        for column in random.sample(columns, random.choice([1, 1, 2])):
            changed[k][column] = random.choice([*cells, rows[random.randrange(1, len(rows))][column]])
        text = io.StringIO()
        csv.writer(text, quoting=csv.QUOTE_ALL).writerows(changed)
        content, whole = text.getvalue().encode(), random.random() < 0.8
        if not whole:
            content = damaged(random, content, len(content), [])
        path.write_bytes(content)
        try:
            found = dataset.recordings(root)
        except CldtransError as error:
            if whole:
                raise AssertionError(f"one bad cell refused the table: {error}") from error
            raise
        if whole and len(found) != len(rows) - 1:
            raise AssertionError(f"{len(rows) - 1} rows became {len(found)}")
        for problem in found["problem"]:
            one_line(problem)
        if (found["problem"] != "").any():
            raise CldtransError(f"{path}: {found['problem'].max()}")

    return attempt


def checkpoint(folder: Path) -> Attempt:
    """Damage or exchange settings, weights or sums of a saved model, and put files beside them."""
    from cldtrans.models import CLDTrans

    settings = load_any(["tiny"]).model
    sound = folder / "sound"
    CLDTrans(settings).save_pretrained(sound)
    contents = {path.name: path.read_bytes() for path in sound.iterdir()}
    described = json.loads(contents["config.json"])

    def attempt(random: Random) -> None:
        place = folder / "model"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(sound, place)
        if random.random() < 0.75:
            (place / "SHA256SUMS").unlink(missing_ok=True)  # as saved by others: everything behind it is met
        name = random.choice([*["config.json"] * 3, "model.safetensors", "SHA256SUMS", "foreign"])
        content = contents.get(name, b"")
        if name == "foreign":
            (place / random.choice(["x.json", "pytorch_model.bin", ".DS_Store", "a b"])).write_bytes(
                random.randbytes(50)
            )
        elif random.random() < 0.15:
            (place / name).unlink(missing_ok=True)
        elif random.random() < 0.15:
            (place / name).write_bytes(content[: random.randrange(len(content) or 1)])
        elif name == "config.json" and random.random() < 0.7:
            changed = json.loads(json.dumps(described))
            holder, key = random.choice(list(holders(changed)))
            value = random.choice([hostile_value(random), 10 ** random.randrange(1, 12), 2])
            if random.random() < 0.2:
                holder[str(value)[:200]] = holder.pop(key)
            else:
                holder[key] = value
            (place / name).write_text(json.dumps(changed))
        else:
            header = (
                8 + int.from_bytes(content[:8], "little") if name == "model.safetensors" else len(content)
            )
            (place / name).write_bytes(
                damaged(random, content, random.choice([header, len(content), 12]), [])
            )
        with redirect_stdout(io.StringIO()):
            CLDTrans.from_pretrained(place)

    return attempt


KINDS: dict[str, Callable[[Path], Attempt]] = {
    maker.__name__: maker for maker in (edf, bdf, wfdb, mne, config, table, checkpoint)
}


def edf_fields(n_channels: int) -> list[tuple[int, int]]:
    """Where the fields of a header lie."""
    widths = [8, 80, 80, 8, 8, 8, 44, 8, 8, 4]
    for width in (16, 80, 8, 8, 8, 8, 8, 80, 8, 32):
        widths += [width] * n_channels
    ends = np.cumsum(widths).tolist()
    return list(zip([0, *ends[:-1]], ends, strict=True))


def as_bdf(content: bytes) -> bytes:
    """Return an EDF file's samples as those of a BDF file."""
    n_channels = int(content[252:256])
    end = 256 * (n_channels + 1)
    header = b"\xffBIOSEMI" + content[8:end].replace(b"EDF+", b"BDF+").replace(b"EDF Annot", b"BDF Annot")
    sizes = [int(content[end - (40 * n_channels) + 8 * i :][:8]) for i in range(n_channels)]
    n_records = int(content[236:244])
    out, place = [header], end
    for _ in range(n_records):
        for i, size in enumerate(sizes):
            piece = content[place : place + 2 * size]
            place += 2 * size
            label = content[256 + 16 * i :][:16]
            if label.startswith(b"EDF Annot"):
                out.append(piece.ljust(3 * size, b"\0"))
            else:
                out.append(
                    np.frombuffer(piece, "<i2").astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
                )
    return b"".join(out)


def read_both_ends(path: Path) -> None:
    """Open a recording and read up to a second at its start and end."""
    recording = open_recording(path)
    if recording.n_samples < 1:
        raise AssertionError(f"{recording.n_samples} samples")
    length = int(min(recording.n_samples, np.ceil(recording.rate_hz)))
    for first in (0, recording.n_samples - length):
        data = recording.read(first, first + length)
        if data.shape != (len(recording.names), length) or np.isinf(data).any():
            raise AssertionError(
                f"{data.shape} of {len(recording.names)} channels, {length} samples, or infinite"
            )


def one_line(message: str) -> None:
    """Raise where a message is none to be read."""
    if not message.isprintable() or len(message) > LONGEST_MESSAGE:
        raise AssertionError(f"no clear line: {message[:300]!r} ... ({len(message)} characters)")
