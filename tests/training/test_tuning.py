"""Strategies of the config on networks: what learns, what it costs, and against other implementations."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from toys.model import make_model
from toys.windows import Fake, rhythms

from cldtrans.baselines.inception_time import InceptionTime
from cldtrans.baselines.patch_transformer import TEACHER, EcgTransformer, PatchClassifier, PatchTransformer
from cldtrans.config import FinetuneConfig
from cldtrans.config.settings import PruneConfig
from cldtrans.data.base import Task
from cldtrans.training.strategies.lora import LowRank, add_adapters, merge_adapters
from cldtrans.training.strategies.memory import saved_bytes
from cldtrans.training.strategies.prune import prune
from cldtrans.training.strategies.tuning import FineTuning

STRATEGIES = ("full", "head", "lora", "accumulate", "fusion", "mezo")
BINARY = Task("rhythm", "binary", ("no", "yes"))


def network(**changes: Any) -> PatchTransformer:
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "width": 16,
        "layers": 1,
        "heads": 2,
        "patches": (5, 4),
        "overlap": 3,
        "dropout": 0.0,
    }
    return PatchTransformer(3, 4, **{**shape, **changes})


def stepped(strategy: Any, module: nn.Module, n: int = 12, **settings: Any) -> tuple[FineTuning, Tensor]:
    """Give the gradients of one step of a strategy."""
    tuning = FineTuning(FinetuneConfig(strategy=strategy, micro_batch=4, **settings), seed=3)
    tuning.prepare(module, ["head"])
    torch.manual_seed(1)
    x, y = torch.randn(n, 3, 200), torch.randint(0, 2, (n, 4)).float()
    loss = tuning.backward(
        module, lambda x, y: F.binary_cross_entropy_with_logits(module(x), y), (x, y), 0, 1e-3
    )
    return tuning, loss


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


def test_accumulate_is_the_whole_batch_and_fusion_with_a_share_of_one_is_first_order() -> None:
    whole, parts, first, few = (network().eval() for _ in range(4))
    full, _ = stepped("full", whole)
    accumulated, _ = stepped("accumulate", parts)
    assert gradients(whole).keys() == {name for name, _ in whole.named_parameters()}
    for name, expected in gradients(whole).items():
        assert (gradients(parts)[name] - expected).abs().max() <= 1e-6
    assert accumulated.costs()["step_saved_bytes"] < 0.4 * full.costs()["step_saved_bytes"]
    stepped("fusion", first, share=1.0)
    torch.manual_seed(1)
    x, y = torch.randn(12, 3, 200), torch.randint(0, 2, (12, 4)).float()
    F.binary_cross_entropy_with_logits(few(x[:4]), y[:4]).backward()
    for name, expected in gradients(few).items():
        assert torch.equal(gradients(first)[name], expected)


def test_what_each_strategy_moves() -> None:
    learned = {}
    for strategy in STRATEGIES:
        module = network()
        before = copy.deepcopy(module.state_dict())
        tuning, loss = stepped(strategy, module, sparsity=0.5, scale=1e-2)
        assert torch.isfinite(loss) and not loss.requires_grad
        learned[strategy] = tuning.costs()["trained_parameters"]
        found = gradients(module)
        after = module.state_dict()
        moved = {name for name in before.keys() & after.keys() if not torch.equal(before[name], after[name])}
        if strategy == "mezo":
            assert not found and moved and tuning.costs()["step_saved_bytes"] == 0
            continue
        assert not moved
        if strategy == "head":
            assert set(found) == {"head.weight", "head.bias"}
        elif strategy == "lora":
            assert {name for name in found if "parametrizations" not in name} == {"head.weight", "head.bias"}
            assert all(name.endswith((".up", ".down")) for name in found if "parametrizations" in name)
        else:
            assert set(found) == {name for name, _ in module.named_parameters()}
    assert learned["head"] < learned["lora"] < learned["full"] == learned["accumulate"] == learned["mezo"]


@pytest.mark.parametrize("rank", [4, 8, 16])
def test_low_rank_additions_count_and_merge(rank: int) -> None:
    module = network().eval()
    x = torch.randn(2, 3, 200)
    before = module(x)
    add_adapters(module, rank, ["head"])
    torch.testing.assert_close(module(x), before, rtol=0, atol=0)
    adapters = [m for m in module.modules() if isinstance(m, LowRank)]
    shapes = [(8, 3 * 15), (16, 8 * 12), (48, 16), (16, 16), (64, 16), (16, 64)]
    assert sum(p.numel() for m in adapters for p in m.parameters()) == rank * sum(map(sum, shapes))
    assert len(adapters) == len(shapes)
    for adapter in adapters:
        nn.init.normal_(adapter.up)
    changed = module(x)
    assert (changed - before).abs().max() > 0.1
    merge_adapters(module)
    torch.testing.assert_close(module(x), changed, rtol=1e-5, atol=1e-5)
    assert module.state_dict().keys() == network().state_dict().keys()


def test_low_rank_additions_are_those_of_peft() -> None:
    peft = pytest.importorskip("peft", reason="peft is not installed: nothing to compare with")
    torch.manual_seed(0)
    ours: Any = nn.Sequential(nn.Conv1d(3, 8, 5, 2), nn.GELU(), nn.Flatten(), nn.Linear(8 * 14, 6))
    theirs = copy.deepcopy(ours)
    add_adapters(ours, 4, [])
    settings = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["0", "3"])
    peft.inject_adapter_in_model(settings, theirs)
    for place in (0, 3):
        low_rank = ours[place].parametrizations.weight[0]
        nn.init.normal_(low_rank.up)
        layer = theirs[place]
        layer.lora_A["default"].weight.data = low_rank.down.detach().view_as(layer.lora_A["default"].weight)
        layer.lora_B["default"].weight.data = low_rank.up.detach().view_as(layer.lora_B["default"].weight)
    x = torch.randn(5, 3, 31)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("by", ["magnitude", "random"])
def test_a_part_of_the_gradient_is_kept(by: Any) -> None:
    torch.manual_seed(0)
    gradient = [torch.randn(40, 50), torch.randn(3)]
    before = [tensor.clone() for tensor in gradient]
    prune(gradient, 0.1, by, seed=5)
    kept = gradient[0] != 0
    assert torch.equal(gradient[0][kept], before[0][kept])
    if by == "magnitude":
        assert kept.sum() == 200 and before[0][kept].abs().min() >= before[0][~kept].abs().max()
        assert (gradient[1] != 0).sum() == 1
    else:
        assert 140 < int(kept.sum()) < 260
        again = [tensor.clone() for tensor in before]
        prune(again, 0.1, by, seed=6)
        assert not torch.equal(again[0] != 0, kept)
    module = network()
    stepped("full", module, prune=PruneConfig(keep=0.2, by=by))
    assert int(gradients(module)["head.weight"].count_nonzero()) <= 26


def test_fusion_holds_a_quarter_of_the_teachers_bytes() -> None:
    """At 8 of 128 windows, as in fine-tuning; counted under fake tensors, which hold nothing."""
    held = {}
    with FakeTensorMode():
        module = PatchTransformer(12, 26, **TEACHER, patches=(5, 4, 2), overlap=3)
        x, y = torch.randn(128, 12, 5000), torch.ones(128, 26)
        learned = list(module.parameters())
        for rows in (8, 128):
            with saved_bytes([*learned, x, y]) as counted:
                loss = F.binary_cross_entropy_with_logits(module(x[:rows]), y[:rows])
                torch.autograd.grad(loss, learned)
            held[rows] = counted.peak
    assert held[128] > 4 * held[8] > 0
    assert held[128] / held[8] > 10  # nearly all of it grows with the windows


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_trains_a_network_of_the_baselines(strategy: Any) -> None:
    train, val = rhythms(24, 0), rhythms(12, 1)
    model = PatchClassifier(
        BINARY, ("a", "b", "c"), 160.0, "eeg", 1, 1, width=16, layers=1, heads=2, steps=3, batch_size=8
    )
    model.tuning = FineTuning(FinetuneConfig(strategy=strategy, micro_batch=4), 1)
    model.fit(train, val)
    proba = model.predict_proba(val)
    assert proba.shape == (12, 2) and np.isfinite(proba).all()
    assert set(model.tuning.costs()) == {"trained_parameters", "step_saved_bytes", "step_ms"}
    assert not any("parametrizations" in name for name in model._networks[0].state_dict())


def test_batch_statistics_of_few_windows_are_said() -> None:
    model = InceptionTime(BINARY, ("a", "b", "c"), 160.0, "eeg", 1, 1, ensemble=1, steps=1, batch_size=8)
    model.tuning = FineTuning(FinetuneConfig(strategy="accumulate", micro_batch=4), 1)
    model.fit(rhythms(8, 0), rhythms(4, 1))
    assert "not exactly the batch's" in model.tuning.notes[0]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_gives_our_model_gradients(strategy: Any) -> None:
    from cldtrans.models.heads import HeadSpec

    model = make_model()
    model.attach_head("task", HeadSpec("binary", ("no", "yes"), "eeg"))
    tuning = FineTuning(FinetuneConfig(strategy=strategy, micro_batch=1, scale=1e-3), 1)
    tuning.prepare(model, ["heads.task"])
    model.train()
    x, y = torch.randn(2, 3, 480), torch.tensor([0.0, 1.0])

    def loss(x: Tensor, y: Tensor) -> Tensor:
        mask = torch.ones(x.shape[:2], dtype=torch.bool)
        logits = model(x, 160.0, mask, "eeg", task="task").logits
        return F.binary_cross_entropy_with_logits(logits[:, -1], y)

    assert torch.isfinite(tuning.backward(model, loss, (x, y), 0, 1e-4))
    found = gradients(model)
    if strategy == "mezo":
        assert not found
        return
    used = {name for name, gradient in found.items() if gradient.abs().max() > 0}
    assert any(name.startswith("heads.task") for name in used)
    assert any(not name.startswith("heads.task") for name in used) == (strategy != "head")
    if strategy == "lora":  # reaches weights that another layer reads and uses itself
        assert len({name for name in used if name.endswith(".up")}) > 10
    tuning.finish(model)
    assert not any("parametrizations" in name for name in model.state_dict())


def test_a_student_learns_a_teachers_probabilities(tmp_path: Any) -> None:
    from safetensors.torch import save_file

    task = Task("d", "multilabel", ("a", "b"))
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, (24, 2)).astype(np.float32)
    x = rng.standard_normal((24, 12, 400)).astype(np.float32) + 2 * y[:, :1, None]
    shape: dict[str, Any] = {"width": 32, "layers": 1, "heads": 2}
    torch.manual_seed(0)
    teacher = PatchTransformer(12, 2, **shape, patches=(5, 4, 2), overlap=3)
    with torch.no_grad():
        teacher.head.bias.copy_(torch.tensor([4.0, -4.0]))
    save_file(teacher.state_dict(), tmp_path / "teacher.safetensors")
    student = EcgTransformer(
        task,
        ("I",) * 12,
        500.0,
        "ecg",
        0,
        1,
        teacher=str(tmp_path / "teacher.safetensors"),
        teacher_shape=shape,
        distilled=1.0,
        abnormal=0.3,
        steps=60,
        batch_size=8,
        validate_every=60,
        learning_rate=3e-3,
    )
    train = Fake(x, y)
    student.fit(train, train)
    proba = student.predict_proba(train)
    assert proba.shape == (24, 2)
    assert proba[:, 0].mean() > 0.8 and proba[:, 1].mean() < 0.2  # of the teacher, not of the labels
    assert student._networks[0].abnormal is not None
