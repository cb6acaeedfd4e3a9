"""Settings: what is refused, and what the message says."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from toys.paths import PROJECT

from cldtrans import config as settings
from cldtrans.errors import ConfigError
from cldtrans.planning.plan import Plan

BASE = [PROJECT / "config" / "config.yaml", *sorted((PROJECT / "config" / "datasets").glob("*.yaml"))]
OVERLAYS = sorted(path for path in (PROJECT / "config").glob("*.yaml") if path.name != "config.yaml")


def resolved() -> dict:
    return settings.resolve(BASE).model_dump(mode="json")


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.stem)
def test_every_shipped_config_is_valid_and_names_its_run(overlay: Path) -> None:
    assert settings.resolve([*BASE, overlay]).run == overlay.stem


@pytest.mark.parametrize(
    ("path", "misspelt", "meant"),
    [
        (("model",), "codebok_size", "codebook_size"),
        (("preprocess", "ptbxl"), "window", "window_s"),
        (("experiments", 0), "method", "methods"),
        ((), "datasts", "datasets"),
        (("variants", "cldtrans"), "stage", "stage1"),
    ],
)
def test_a_misspelt_key_is_named_with_what_was_meant(path: tuple, misspelt: str, meant: str) -> None:
    broken = resolved()
    place = broken
    for part in path:
        place = place[part]
    place[misspelt] = 1
    with pytest.raises(ConfigError, match=f"unknown key '.*{misspelt}'; did you mean '{meant}'"):
        settings.parse(broken)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"preprocess": {"ptbxl": {"batches": 3}}},
            "shards .16. must be a multiple of batches .3.*set shards to",
        ),
        ({"preprocess": {"ptbxl": {"band_hz": [1, 400]}}}, "below half of rate_hz"),
        (
            {"stage1": {"datasets": ["eegmidb"]}},
            "stage1.datasets: unknown name 'eegmidb'; did you mean 'eegmmidb'",
        ),
        ({"methods": {"odd": {}}}, "at least one of|factor"),
        ({"methods": {"odd": {"classifier": "no_colon"}}}, "package.module:factory"),
        ({"run": "No Spaces"}, "run"),
    ],
)
def test_impossible_settings_are_refused_with_a_reason(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings.parse(settings.deep_merge(resolved(), change))


def test_a_variants_overlay_may_not_invent_keys() -> None:
    broken = settings.deep_merge(
        resolved(), {"variants": {"odd": {"model": {"quantise": False}, "stage1": {}}}}
    )
    with pytest.raises(
        ConfigError, match=r"variant odd: unknown key 'model\.quantise'; did you mean 'quantize'"
    ):
        settings.variant(settings.parse(broken), "odd")


def test_the_fingerprint_ignores_key_order_and_sees_values() -> None:
    assert settings.fingerprint({"a": 1, "b": 2}) == settings.fingerprint({"b": 2, "a": 1})
    assert settings.fingerprint({"a": 1}) != settings.fingerprint({"a": 2})


ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}]\n" for k in range(1, 40))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{k}: &a{k} {{<<: [*a{k - 1}, *a{k - 1}]}}\n" for k in range(1, 40))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("odd.yaml", b"raw: !!timestamp x", "not YAML"),
        ("odd.yaml", b"raw: !!bool x", "not YAML"),
        ("odd.yaml", b"[" * 3000, "at most 100 brackets"),
        ("odd.yaml", b"raw: " + b"{a: [" * 60, "at most 100 brackets"),
        ("odd.yaml", ALIASES.encode(), "at most 100000 values"),
        ("odd.yaml", MERGES.encode(), "at most 100000 values"),
        ("odd.yaml", b"raw: &a [*a]", "at most 100000 values"),
        ("odd.yaml", rb'raw: "\ud800"', "neither text nor a finite number"),
        (
            "odd.yaml",
            b"identifiability: {worlds: {base: {n_channels: 2001-01-01}}}",
            "neither text nor a finite",
        ),
        ("odd.json", b"\xff\xfe{", "not JSON"),
        ("odd.json", b"[" * 100_000, "not JSON"),
        ("odd.json", b"1" * 5000, "not JSON"),
    ],
)
def test_hostile_bytes_are_one_line(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        settings.load_any([tmp_path / name])
    assert name in str(caught.value) and str(caught.value).isprintable()


def test_brackets_within_reason_are_read(tmp_path: Path) -> None:
    (tmp_path / "deep.yaml").write_text("raw: " + "[" * 99 + "]" * 99)
    with pytest.raises(ConfigError, match="raw"):
        settings.load_any([tmp_path / "deep.yaml"])


def test_any_message_is_one_line_of_moderate_length() -> None:
    message = str(ConfigError("odd.yaml: found " + "9\n\x1b" * 5000 + "; correct it"))
    assert message.isprintable() and len(message) < 1000 and message.endswith("; correct it")


def test_a_file_that_is_not_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text("a: [1")
    with pytest.raises(ConfigError, match=r"odd\.yaml: not YAML"):
        settings.resolve([tmp_path / "odd.yaml"])


HOSTILE = (
    "$(touch x)",
    "../../../up",
    "a b",
    "a;b",
    "a'b",
    "-n",
    ".hidden",
    "",
    "x" * 65,
    "ä",
    "a/b",
    "a\nb",
    "`id`",
)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("where", ["methods", "variants", "preprocess", "worlds", "run"])
def test_names_that_would_reach_a_shell_or_another_folder_are_refused(where: str, name: str) -> None:
    broken = resolved()
    if where == "run":
        broken["run"] = name
    else:
        section = broken["identifiability"]["worlds"] if where == "worlds" else broken[where]
        section[name] = next(iter(section.values()))
    with pytest.raises(ConfigError) as error:
        settings.parse(broken)
    assert "\n" not in str(error.value)


def test_every_string_of_a_rules_shell_line_is_quoted() -> None:
    """What a user may name is a wildcard, a file or a log of a rule; numbers are not quoted."""
    for file in (PROJECT / "rules").glob("*.smk"):
        for line in re.findall(r'^    shell:\n((?:        ".*"\n)+)', file.read_text(), re.MULTILINE):
            fields = re.findall(r"\{([^}]*)\}", line)
            plain = {field for field in fields if not field.endswith(":q")}
            assert plain <= {"threads", "params.threads_each", "resources.procs"}, (file.name, plain)


@pytest.mark.parametrize(
    "content",
    [
        "run: é".encode("latin-1"),
        b"\xff\xfe\x00",
        b"run: [1",
        b"loop: {steps: " + b"9" * 5000 + b"}",
        b"day: 2021-13-45",
        b"loop: {learning_rate: .inf}",
        b"loop: {learning_rate: .nan}",
        b"methods: {m: {classifier: 'a:b', settings: {x: .inf}}}",
        b"methods: {m: {classifier: 'a:b', settings: {x: !!binary aGVsbG8=}}}",
        b"stage2: {seeds: [-1]}",
        b"a: " + b"[" * 2000,
        b"!!python/object/apply:os.system ['true']",
        b"- a list",
    ],
)
def test_a_config_that_cannot_be_one_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_bytes(content)
    with pytest.raises(ConfigError) as error:
        settings.load_any([tmp_path / "odd.yaml"])
    assert "\n" not in str(error.value) and len(str(error.value)) < 2000


keys = st.sampled_from("abc")
trees = st.recursive(
    st.integers() | st.lists(st.integers()), lambda t: st.dictionaries(keys, t, min_size=1), max_leaves=6
)


@given(st.dictionaries(keys, trees), st.dictionaries(keys, trees))
def test_merging_agrees_with_snakemakes_own(base: dict, overlay: dict) -> None:
    from copy import deepcopy

    from snakemake.utils import update_config

    expected = deepcopy(base)
    update_config(expected, deepcopy(overlay))
    assert settings.deep_merge(base, overlay) == expected


def test_the_paper_plans_what_the_protocol_says() -> None:
    plan = yaml.safe_load(BASE[0].read_text())["experiments"]
    fewshot = next(block for block in plan if block["target"] == "fewshot")
    assert fewshot["seeds"] == [42, 123, 7, 0, 256]
    assert fewshot["budgets"] == ["0.01", "0.1", "1.0"]
    assert set(fewshot["datasets"]) == {"chbmit", "ptbxl", "sleepedf"}


def test_a_dataset_of_ones_own_needs_window_and_rate_alone() -> None:
    plan = resolved() | {
        "datasets": ["mine"],
        "dataset_classes": {"mine": "my_package:Mine"},
        "experiments": [
            {"target": "baselines", "experiment": "fewshot", "datasets": ["mine"],
             "methods": ["feature_linear"], "budgets": ["1.0"], "seeds": [42]}
        ],
    }  # fmt: skip
    plan["preprocess"]["mine"] = {"window_s": 4, "rate_hz": 50}
    config = settings.parse(plan)
    mine = config.preprocess["mine"]
    assert (mine.stride_s, mine.band_hz) == (4, (0.5, 22.5))
    assert config.dataset_classes["mine"].factory == "my_package:Mine"
    assert not config.pretrains and not config.has_heads and Plan(config).checkpoints(2) == []
    assert not [file for file in Plan(config).figures() if "motifs" in file]
    assert settings.parse(config.model_dump(mode="json")) == config  # as the workflow hands it to its jobs
    one, other = (
        settings.content_settings(settings.parse(plan | {"dataset_classes": {"mine": spec}}), "mine")
        for spec in ("my_package:Mine", {"class": "my_package:Mine", "settings": {"folder": "x"}})
    )
    assert one != other
    plan["experiments"][0]["methods"] = ["cldtrans"]
    with pytest.raises(ConfigError, match=r"stage1.datasets: unknown name 'eegmmidb'"):
        settings.parse(plan)
    del plan["preprocess"]["mine"]["rate_hz"]
    with pytest.raises(ConfigError, match=r"missing key 'preprocess\.mine\.rate_hz'"):
        settings.parse(plan)
