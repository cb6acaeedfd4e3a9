"""The network's contract: shapes, masks, permutations, saving, ablations; its parts against known answers."""

import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.signal

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from cldtrans.config import ModelConfig  # noqa: E402
from cldtrans.lag.simulate import simulate_ldsem  # noqa: E402
from cldtrans.models import CLDTrans  # noqa: E402
from cldtrans.models.covariances import SINC_TAPS, finer, lagged_covariance, standardise  # noqa: E402
from cldtrans.models.graph_ode import GraphODE, VectorField, control_path  # noqa: E402
from cldtrans.models.heads import HeadSpec  # noqa: E402
from cldtrans.models.lag_features import Covariances  # noqa: E402
from cldtrans.models.lag_fit import Sums, fit  # noqa: E402
from cldtrans.models.lag_search import OWN_LAGS, Grown  # noqa: E402
from cldtrans.models.motifs import Codebook, perplexity  # noqa: E402
from cldtrans.models.readouts import READOUTS, focal_scores  # noqa: E402
from cldtrans.models.resample import resample  # noqa: E402

SETTINGS = {
    "width": 16,
    "codebook_size": 32,
    "shared_codebook": False,
    "blocks": 1,
    "ode_width": 8,
    "pair_width": 16,
    "knots": 4,
    "sources": 6,
    "tau_max_s": {"eeg": 0.3, "ecg": 0.1},
    "solver": "rk4",
    "adjoint": False,
    "tolerance": 1e-4,
    "quantize": True,
    "lag": "continuous",
    "dynamics": "ode",
}
MONTAGES = {  # windows, rate, modality of each kind of recording
    "eegmmidb": ((2, 64, 640), 160.0, "eeg"),
    "chbmit": ((2, 18, 1024), 256.0, "eeg"),
    "sleepedf": ((2, 2, 3000), 100.0, "eeg"),
    "ptbxl": ((2, 12, 5000), 500.0, "ecg"),
}


def make_model(dtype=torch.float32, seed=0, **changes):
    torch.manual_seed(seed)
    return CLDTrans({**SETTINGS, **changes}).to(dtype).eval()


def worlds(n, n_channels, **settings):
    """Windows [n, C, 1600] of n systems at 160 Hz, their supports and lags."""
    samples = [
        simulate_ldsem(n_channels, 10.0, window_s=10.0, seed=seed, **{"self_dynamics": "ar2", **settings})
        for seed in range(n)
    ]
    x = torch.from_numpy(np.stack([sample.x[0] for sample in samples]))
    return x, np.stack([s.support for s in samples]), np.stack([s.tau for s in samples])


@pytest.mark.parametrize("name", MONTAGES)
def test_one_model_reads_every_montage(name):
    shape, rate_hz, modality = MONTAGES[name]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(shape[:2], dtype=torch.bool)
    mask[0, -1] = False
    x[0, -1] = torch.nan  # what is masked may hold anything
    with torch.no_grad():
        out = make_model()(x, rate_hz, mask, modality)
    b, c = shape[:2]
    assert out.tau.shape == out.edge_probability.shape == (b, c, c)
    assert out.focal_scores.shape == (b, c) and out.logits is None
    assert out.tau.isfinite().all() and out.pooled.isfinite().all()
    for value in (out.tau, out.edge_probability):
        assert value.diagonal(dim1=1, dim2=2).abs().max() == 0
        assert value[0, -1].abs().max() == 0 and value[0, :, -1].abs().max() == 0
    assert (out.tau >= 0).all() and (out.edge_probability >= 0).all() and (out.edge_probability <= 1).all()
    assert torch.isneginf(out.focal_scores[0, -1]) and out.focal_scores[1].isfinite().all()
    assert out.nfe > 0


def test_modality_is_guessed_with_a_warning():
    model = make_model()
    with pytest.warns(UserWarning, match="ecg"):
        model(torch.randn(1, 12, 1000), 500.0)
    with pytest.warns(UserWarning, match="eeg"):
        model(torch.randn(1, 16, 1000), 500.0)


def as_after_training(model):
    """Lag networks that say something: fresh ones add nothing."""
    for network in (model.lag_inference.gate, model.lag_inference.network):
        torch.nn.init.normal_(network.out.weight, std=0.2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["chbmit", "ptbxl"])
def test_permuted_channels_permute_lags_and_keep_logits(name, dtype):
    shape, rate_hz, modality = MONTAGES[name]
    model = make_model(dtype)
    as_after_training(model)
    model.attach_head("task", HeadSpec("multilabel", ("a", "b", "c"), modality))
    x = torch.randn(shape, dtype=dtype).cumsum(-1)
    order = torch.randperm(shape[1])
    with torch.no_grad():
        a, b = (model(value, rate_hz, modality=modality) for value in (x, x[:, order]))
    assert (a.tau[:, order][:, :, order] - b.tau).abs().max() < 1e-4
    assert (a.focal_scores[:, order] - b.focal_scores).abs().max() < 1e-3
    assert (a.logits - b.logits).abs().max() < (1e-4 if dtype == torch.float64 else 1e-3)


def test_one_stage2_checkpoint_serves_every_montage_in_any_order_of_channels(tmp_path):
    """All of the file's tensors are used; float64 and rk4, so that only the arithmetic's order differs."""
    model = make_model()
    as_after_training(model)
    for name, kind in (("chbmit", "binary"), ("sleepedf", "multiclass"), ("ptbxl", "multilabel")):
        head = model.attach_head(name, HeadSpec(kind, ("a", "b", "c"), MONTAGES[name][2]))
        head.mean.normal_()
        head.scale.uniform_(0.5, 2.0)
    model.save_pretrained(tmp_path)
    loaded = CLDTrans.from_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    assert saved.keys() == loaded.state_dict().keys()
    assert all(torch.equal(value, saved[name]) for name, value in loaded.state_dict().items())
    loaded.double().eval()
    for name, (shape, rate_hz, modality) in MONTAGES.items():
        x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).cumsum(-1)
        order = torch.randperm(shape[1], generator=torch.Generator().manual_seed(2))
        task = name if name in loaded.heads else "chbmit"
        with torch.no_grad():
            a, b = (loaded(value, rate_hz, modality=modality, task=task) for value in (x, x[:, order]))
        assert (a.tau[:, order][:, :, order] - b.tau).abs().max() < 1e-4, name
        assert a.logits.isfinite().all() and (a.logits - b.logits).abs().max() < 1e-4, name


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape"])
def test_a_checkpoint_whose_tensors_do_not_fit_is_refused(tmp_path, change):
    make_model().save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    if change == "missing":
        del weights["decoder.block.mix.bias"]
    else:
        name = "fill.bias" if change == "shape" else "something.else"
        weights[name] = torch.zeros(3)
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(RuntimeError, match=r"decoder\.block\.mix\.bias|fill\.bias|something\.else"):
        CLDTrans.from_pretrained(tmp_path)


def test_the_order_of_dependent_leads_does_not_decide_lags():
    x = torch.randn(4, 8, 2500).cumsum(-1)
    first, second = x[:, :1], x[:, 1:2]
    leads = [x, first - second, -(first + second) / 2, first - second / 2, second - first / 2]
    leads = torch.cat(leads, 1)
    model, order = make_model(), torch.randperm(12)
    with torch.no_grad():
        a, b = (model.lags(value, 500.0, modality="ecg").tau for value in (leads, leads[:, order]))
    assert (a[:, order][:, :, order] - b).abs().max() < 1e-4


def test_masked_channels_change_nothing():
    model = make_model(torch.float64)
    x = torch.randn(2, 7, 1600, dtype=torch.float64)
    mask = torch.tensor([True] * 5 + [False] * 2).expand(2, 7)
    with torch.no_grad():
        a, b = model(x[:, :5], 160.0, modality="eeg"), model(x, 160.0, mask, "eeg")
    torch.testing.assert_close(a.tau, b.tau[:, :5, :5])
    torch.testing.assert_close(a.edge_probability, b.edge_probability[:, :5, :5])
    torch.testing.assert_close(a.pooled, b.pooled)


def test_saved_models_load_equal(tmp_path):
    model = make_model()
    model.attach_head("ptbxl", HeadSpec("multilabel", ("NORM", "MI"), "ecg"))
    model.describe(seed=3)
    model.save_pretrained(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    assert "ptbxl" in (tmp_path / "README.md").read_text()
    assert json.loads((tmp_path / "config.json").read_text())["config"]["width"] == 16
    again = CLDTrans.from_pretrained(tmp_path).eval()
    assert again.config == ModelConfig.model_validate(SETTINGS)
    x = torch.randn(2, 12, 2000)
    with torch.no_grad():
        a, b = (m(x, 500.0, modality="ecg") for m in (model, again))
    assert torch.equal(a.tau, b.tau) and torch.equal(a.logits, b.logits) and a.task == "ptbxl"


def test_scale_units_and_extremes_do_not_matter():
    model = make_model()
    x = torch.randn(1, 6, 1600).cumsum(-1)
    scale = torch.logspace(-6, 3, 6)[:, None]
    with torch.no_grad():
        a, b = model(x, 160.0, modality="eeg"), model(x * scale + 5 * scale, 160.0, modality="eeg")
        flat = model(torch.zeros(1, 4, 1600), 160.0, modality="eeg")
    torch.testing.assert_close(a.tau, b.tau, atol=2e-4, rtol=0)
    assert flat.tau.abs().max() == 0 and flat.focal_scores.isfinite().all() and flat.pooled.isfinite().all()


def test_linearly_dependent_channels_are_survived():
    x = torch.randn(2, 8, 5000).cumsum(-1)
    leads = torch.cat([x, x[:, :1] - x[:, 1:2], -(x[:, :1] + x[:, 1:2]) / 2, x[:, :1], x[:, :1]], 1)
    with torch.no_grad():
        out = make_model()(leads, 500.0, modality="ecg")
    assert out.tau.isfinite().all() and out.edge_probability.isfinite().all()


def test_user_errors_name_the_problem():
    model = make_model()
    with pytest.raises(ValueError, match="batch, channels, samples"):
        model(torch.randn(3, 1600), 160.0)
    with pytest.raises(ValueError, match="too short"):
        model(torch.randn(1, 3, 20), 160.0, modality="eeg")
    with pytest.raises(ValueError, match="no heads"):
        model(torch.randn(1, 3, 800), 160.0, modality="eeg", task="x")
    with pytest.raises(ValueError, match="channel_mask"):
        model(torch.randn(1, 3, 800), 160.0, torch.ones(1, 4), "eeg")


# --- parts


@pytest.mark.parametrize("rates", [(256, 160), (100, 160), (512, 160), (1000, 500), (360, 500)])
def test_resampling_keeps_tones_and_stops_aliases(rates):
    old, new = rates
    t_old, t_new = np.arange(4 * old) / old, np.arange(4 * new) / new
    passed = min(old, new) * 0.3
    y = resample(torch.from_numpy(np.sin(2 * np.pi * passed * t_old)), old, new).numpy()
    assert y.shape == t_new.shape
    middle = slice(new // 2, -new // 2)
    assert np.abs(y - np.sin(2 * np.pi * passed * t_new))[middle].max() < 2e-3
    if old > new:
        stopped = resample(torch.from_numpy(np.sin(2 * np.pi * 0.56 * new * t_old)), old, new).numpy()
        assert np.abs(stopped[middle]).max() < 1e-2


def test_lagged_covariance_is_the_plain_sum():
    x, y = torch.randn(2, 2, 3, 101, dtype=torch.float64).unbind()
    table = lagged_covariance(x, y, 7)
    for m in range(8):
        expected = torch.einsum("bit,bjt->bij", x[..., m:], y[..., : 101 - m]) / 101
        torch.testing.assert_close(table[..., m], expected)


def test_least_squares_sums_the_samples_whose_past_is_there():
    """Sums of sinusoids, whose delays are known everywhere, against a plain sum over those samples."""
    rng = np.random.default_rng(4)
    n, max_lag = 500, 20
    hertz, phase = rng.uniform(0.01, 0.1, (3, 12)), rng.uniform(0, 6, (3, 12))

    def delayed(channel, lag):
        t = np.arange(n)[:, None] - lag
        return np.cos(2 * np.pi * hertz[channel] * t + phase[channel]).sum(1) / np.sqrt(6)

    x = torch.from_numpy(np.stack([delayed(c, 0.0) for c in range(3)]))[None]
    sums = Sums.of(x, max_lag)
    tau = np.array([[3.37, 17.81], [0.06, 19.9], [8.5, 0.0]])
    source = torch.tensor([[[1, 2], [0, 2], [0, 1]]])
    nothing = torch.zeros(1)
    grown = Grown(
        torch.arange(3), source, torch.zeros(1, 3, 2), torch.ones(1, 3, 2, dtype=torch.bool), *[nothing] * 8
    )
    counted = slice(sums.first, sums.last)
    extra = np.zeros((3, n))
    extra[:, counted] = rng.standard_normal((3, sums.last - sums.first))  # of a pseudo-response
    ahead = F.pad(x, (0, SINC_TAPS))[..., SINC_TAPS:]
    table = lagged_covariance(torch.from_numpy(extra)[None], ahead, max_lag + 2 * SINC_TAPS)
    found = fit(sums, grown, torch.from_numpy(tau)[None])
    answered = fit(replace(sums, correction=finer(table)), grown, torch.from_numpy(tau)[None])
    for i in range(3):
        own = [delayed(i, p) for p in range(1, OWN_LAGS + 1)]
        others = [delayed(int(j), lag) for j, lag in zip(source[0, i], tau[i], strict=True)]
        rows = np.stack(own + others)[:, counted]
        gram = torch.linalg.inv(found.inverse[0, i]).numpy()
        np.testing.assert_allclose(gram, rows @ rows.T / n, atol=1e-4)
        right = gram @ found.coefficient[0, i].numpy()
        np.testing.assert_allclose(right, rows @ delayed(i, 0.0)[counted] / n, atol=1e-4)
        change = gram @ (answered.coefficient - found.coefficient)[0, i].numpy()
        np.testing.assert_allclose(change, rows @ extra[i][counted] / n, atol=1e-4)


def test_slow_narrow_rhythms_are_fitted_without_bias():
    """A resonance at 3 Hz with poles of radius 0.98, where a little white noise eats the coefficients."""
    rng = np.random.default_rng(0)
    drive = rng.standard_normal((1, 2, 4000))
    poles = 0.98 * np.exp(2j * np.pi * 3 / 160 * np.array([1, -1]))
    x = scipy.signal.lfilter([1.0], np.real(np.poly(poles)), drive)[..., -1600:]
    x, _ = standardise(torch.from_numpy(x), torch.ones(1, 2, dtype=torch.bool))
    sums = Sums.of(x, 20)
    nothing = torch.zeros(1)
    unused = torch.zeros(1, 2, 1, dtype=torch.bool)
    grown = Grown(torch.arange(2), torch.tensor([[[1], [0]]]), torch.zeros(1, 2, 1), unused, *[nothing] * 8)
    own = fit(sums, grown, torch.zeros(1, 2, 1, dtype=torch.float64)).coefficient[0, :, :OWN_LAGS]
    t = np.arange(sums.first, sums.last)
    for channel in range(2):
        y = x[0, channel].numpy()
        past = np.stack([y[t - p] for p in range(1, OWN_LAGS + 1)], 1)
        expected = np.linalg.lstsq(past, y[t], rcond=None)[0]
        np.testing.assert_allclose(own[channel].numpy(), expected, atol=2e-3)


@pytest.mark.parametrize("n_channels", [6, 12])
def test_evidence_finds_edges_and_lags_of_simulated_systems(n_channels):
    from sklearn.metrics import roc_auc_score

    x, support, tau = worlds(8, n_channels)
    mask = torch.ones(x.shape[:2], dtype=torch.bool)
    evidence, _ = Covariances.of(standardise(x, mask)[0], mask, 48).evidence(8)
    pairs = np.broadcast_to(~np.eye(n_channels, dtype=bool), support.shape)
    assert roc_auc_score(support[pairs], evidence.score.numpy()[pairs]) > 0.92
    error = np.abs(evidence.tau.numpy() - tau * 160)[support]
    assert np.median(error) < 0.5


def test_an_open_gate_reads_out_the_leading_channel():
    """A discharge of 3 spikes a second spreads from one channel to all others: it must win."""
    rng = np.random.default_rng(0)
    model = make_model()
    model.lag_inference.gate.out.bias.data.fill_(1.0)
    hits = {name: 0 for name in READOUTS}
    for _ in range(8):
        lead = rng.integers(8)
        delay_s = rng.uniform(0.02, 0.12, 8) * (np.arange(8) != lead)
        t = np.arange(1600) / 160 - delay_s[:, None]
        spikes = np.cumsum(rng.uniform(0.25, 0.4, 40))
        wave = np.exp(-(((t[..., None] - spikes) / 0.02) ** 2)).sum(-1) * 4
        x = torch.tensor(wave + 0.3 * rng.standard_normal((8, 1600)), dtype=torch.float32)[None]
        with torch.no_grad():
            out = model(x, 160.0, modality="eeg")
        for name in hits:
            scores = focal_scores(out.tau, out.edge_probability, torch.ones(1, 8, dtype=torch.bool), name)
            hits[name] += int(scores.argmax()) == lead
    assert hits["net_lead"] >= 7 and hits["arrival"] >= 7, hits


def test_adjoint_and_direct_gradients_agree():
    torch.manual_seed(0)
    gradients = []
    path, adjacency = (torch.randn(s, dtype=torch.float64) for s in ((1, 3, 4, 16), (1, 3, 3, 3)))
    mask = torch.ones(1, 3, dtype=torch.bool)
    for adjoint in (False, True):
        torch.manual_seed(1)
        config = ModelConfig.model_validate(
            {**SETTINGS, "solver": "dopri5", "tolerance": 1e-7, "adjoint": adjoint}
        )
        ode = GraphODE(config).double()
        inputs = [value.clone().requires_grad_() for value in (path, 0.3 * adjacency)]
        result = ode(*inputs, mask)
        assert result.nfe > 0
        result.states.square().sum().backward()
        gradients.append([value.grad for value in (*inputs, *ode.parameters())])
    for direct, adjoint_gradient in zip(*gradients, strict=True):
        torch.testing.assert_close(direct, adjoint_gradient, rtol=1e-3, atol=1e-4)


def test_rk4_agrees_with_an_accurate_solution_and_feels_the_whole_path():
    torch.manual_seed(0)
    path = torch.randn(1, 2, 12, 16, dtype=torch.float64)
    adjacency = 0.5 * torch.rand(1, 4, 2, 2, dtype=torch.float64)
    states = {}
    for solver in ("rk4", "dopri5"):
        torch.manual_seed(1)
        config = ModelConfig.model_validate({**SETTINGS, "solver": solver, "tolerance": 1e-9})
        ode = GraphODE(config).double()
        states[solver] = ode(path, adjacency, torch.ones(1, 2, dtype=torch.bool)).states
        assert isinstance(ode.field, VectorField)
    assert (states["rk4"] - states["dopri5"]).abs().max() < 0.05
    moved = path.clone()
    moved[0, 0, -2] += 1.0
    again = ode(moved, adjacency, torch.ones(1, 2, dtype=torch.bool)).states
    changed = (again - states["dopri5"]).abs().amax((0, 1, 3))
    assert changed[-1] > 1e-3 and changed[:9].max() < 1e-9, "later controls act, and not backwards in time"


def test_control_path_is_the_mean_of_the_tokens_there_are():
    z = torch.arange(10.0).view(1, 1, 10, 1)
    assert control_path(z).flatten().tolist() == [1.5, 5.5, 8.5]


def test_codebook_follows_clusters_and_revives_dead_entries():
    torch.manual_seed(0)
    centres = torch.randn(16, 8)
    book = Codebook(16, 8).train()
    for _ in range(60):
        z = centres[torch.randint(16, (512,))] + 0.05 * torch.randn(512, 8)
        codes = book(z, torch.ones(512, dtype=torch.bool))
        book.update()
    assert codes.distance.mean() < 0.05
    assert perplexity(codes.index, 16) > 12
    gap = torch.cdist(centres, book.entries).min(1).values
    assert (gap < 0.2).sum() >= 13, "nearly every cluster has an entry"
    z = torch.randn(4, 8, requires_grad=True)
    book(z, torch.ones(4, dtype=torch.bool)).latents.sum().backward()
    assert torch.equal(z.grad, torch.ones_like(z)), "straight through"


def test_codebook_does_not_depend_on_micro_batches():
    torch.manual_seed(0)
    whole, parts = Codebook(8, 4).double().train(), Codebook(8, 4).double().train()
    parts.load_state_dict(whole.state_dict())
    for _ in range(5):
        z = torch.randn(96, 4, dtype=torch.float64)
        whole(z, torch.ones(96, dtype=torch.bool))
        for part in z.split(32):
            parts(part, torch.ones(32, dtype=torch.bool))
        whole.update()
        parts.update()
        torch.testing.assert_close(whole.entries, parts.entries, rtol=1e-9, atol=1e-12)


# --- ablations


def parameters(model):
    return {name: value.numel() for name, value in model.named_parameters()}


@pytest.mark.parametrize(
    ("changes", "without", "new"),
    [
        ({"quantize": False}, None, None),
        ({"lag": "none"}, "lag_inference.", None),
        ({"lag": "integer"}, None, None),
        ({"dynamics": "none"}, "dynamics.field.", "dynamics.map."),
    ],
)
def test_an_ablation_changes_what_it_says(changes, without, new):
    full, ablated = make_model(), make_model(**changes)
    a, b = parameters(full), parameters(ablated)
    removed, added = set(a) - set(b), set(b) - set(a)
    assert all(name.startswith(without or "nothing") for name in removed)
    assert bool(removed) == (without is not None)
    assert all(name.startswith(new or "nothing") for name in added)
    assert all(a[name] == b[name] for name in set(a) & set(b))
    buffers = {name for name, _ in full.named_buffers()} - {name for name, _ in ablated.named_buffers()}
    assert all(name.startswith("codebooks.") for name in buffers) and bool(buffers) == ("quantize" in changes)

    ablated.load_state_dict(full.state_dict(), strict=False)
    x = torch.randn(1, 5, 1600)
    with torch.no_grad():
        one, two = full(x, 160.0, modality="eeg"), ablated(x, 160.0, modality="eeg")
    samples = two.tau * 160
    if changes.get("lag") == "none":
        assert two.tau.abs().max() == 0 and two.edge_probability.max() > 0
        assert torch.equal(one.tokens, two.tokens)
    elif changes.get("lag") == "integer":
        torch.testing.assert_close(samples, samples.round())
        torch.testing.assert_close(samples, (one.tau * 160).round())
        offered = ablated.lags(x, 160.0, torch.ones(1, 5, dtype=torch.bool), "eeg").candidates * 160
        torch.testing.assert_close(offered, offered.round())
        assert torch.equal(one.edge_probability, two.edge_probability)
    else:
        assert torch.equal(one.tau, two.tau) and torch.equal(one.edge_probability, two.edge_probability)
    if "dynamics" in changes:
        assert two.nfe == 0 and torch.equal(one.tokens, two.tokens)
    if "quantize" in changes:
        assert two.tokens is None
