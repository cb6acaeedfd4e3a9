"""CLD-Trans: motifs, lags inferred from the window, a graph ODE along them, task heads."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from huggingface_hub import ModelCard, PyTorchModelHubMixin
from jaxtyping import Bool, Float, Num
from torch import Tensor, nn

from cldtrans.config import ModelConfig
from cldtrans.files import SUMS
from cldtrans.models import saved
from cldtrans.models.card import model_card
from cldtrans.models.graph_ode import Adjacency, GraphODE, TokenMap, Trajectory, control_path, to_tokens
from cldtrans.models.heads import HeadSpec, TaskHead
from cldtrans.models.lag_inference.covariances import standardise
from cldtrans.models.lag_inference.network import LagInference, Lags, ZeroLag
from cldtrans.models.lag_inference.one_source import any_of, one_source
from cldtrans.models.modality import MODALITIES, PATCH, RATE_HZ
from cldtrans.models.motifs import Codebook, Codes, Decoder, Encoder
from cldtrans.models.output import Encoding, Output
from cldtrans.models.readout.channels import pool_channels
from cldtrans.models.readout.readout import SHARES, Positions, Readout, placed
from cldtrans.models.readouts import focal_scores
from cldtrans.models.recompute import recomputed
from cldtrans.models.resample import resample
from cldtrans.models.transformer import Context

ECG_MIN_RATE_HZ = 400.0
ECG_MAX_CHANNELS = 15
MIN_PATCHES = 4
ROWS_AT_ONCE = 16  # channels whose tokens are worked on together on a CPU


class CLDTrans(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="cldtrans",
    license="mit",
    tags=["eeg", "ecg", "time-series", "causal-discovery"],
):
    """The whole network; any number of channels, EEG or ECG, no retraining for either.

    Parameters
    ----------
    config : ModelConfig or mapping
        Settings of the network; a mapping is checked and converted.
    tasks : mapping, optional
        Heads by name, each the `to_json` of a `HeadSpec`.
    provenance : mapping, optional
        What the model card says about the training; plain values.
    """

    def __init__(
        self,
        config: Mapping[str, Any] | ModelConfig,
        tasks: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        self.config = config if isinstance(config, ModelConfig) else ModelConfig.model_validate(dict(config))
        width, state = self.config.width, self.config.ode_width
        self.encoder = Encoder(width, self.config.blocks)
        self.decoder = Decoder(width)
        self.codebooks = nn.ModuleDict()
        if self.config.quantize:
            books = ["shared"] if self.config.shared_codebook else list(MODALITIES)
            self.codebooks.update({name: Codebook(self.config.codebook_size, width) for name in books})
        self.lag_inference = ZeroLag() if self.config.lag == "none" else LagInference(self.config)
        self.adjacency = Adjacency(self.config)
        self.dynamics = TokenMap(self.config) if self.config.dynamics == "none" else GraphODE(self.config)
        self.hidden = nn.Parameter(torch.zeros(width))  # stands for latents hidden from the dynamics
        self.fill = nn.Linear(state, width)
        self.to_latent = nn.Linear(state, width)
        nn.init.zeros_(self.to_latent.weight)
        self.context = Context(self.config) if self.config.layers else None
        self.readout = Readout(self.config)
        self.heads = nn.ModuleDict()
        for name, values in (tasks or {}).items():
            spec = HeadSpec.from_json(values)
            self.heads[name] = TaskHead(self.n_features(spec.modality), spec)
        self.provenance = dict(provenance or {})
        self._set_hub_config()

    # --- use ------------------------------------------------------------------------------------------------

    def forward(
        self,
        x: Tensor,
        sample_rate: float,
        channel_mask: Tensor | None = None,
        modality: str | None = None,
        task: str | None = None,
        background: Tensor | None = None,
        positions: Positions | None = None,
    ) -> Output:
        """Say everything about windows.

        Parameters
        ----------
        x : tensor [B, C, T]
            Windows in microvolts (EEG) or millivolts (ECG). Of `pooled`, and so of logits, the blocks
            "covariance" and "eigenvalues" depend on the unit; nothing else does.
        sample_rate : float
            Hertz; other rates than 160 (EEG) and 500 (ECG) are resampled.
        channel_mask : tensor [B, C] of bool, optional
            True where valid; masked channels may hold anything. Default: all valid.
        modality : one of "eeg", "ecg", optional
            None guesses from rate and channels, with a warning.
        task : str, optional
            Which head; None: the first one of this modality, if there is one.
        background : tensor [B, K, C, U] or [K, C, U], optional
            Windows of the same recordings without a discharge, at the rate and in the unit of x: the noise in
            which one source is sought. None: the start of each window.
        positions : sequence of C str, tensor [C, 3] or [B, C, 3], optional
            Names of electrodes or leads, or places as `cldtrans.data.montages.places` gives them (NaN: not
            known), for the block "covariance" of `pooled`, which is zero without any.

        Returns
        -------
        Output
            Lags, edges, focal scores, tokens, pooled features, and logits of the task.
        """
        modality = self.which_modality(x, sample_rate, modality)
        encoding = self.encode(x, sample_rate, channel_mask, modality, background=background)
        lags = encoding.lags
        channels = pool_channels(encoding.codes.latents, encoding.trajectory.states, lags)
        places = placed(positions, x, modality)
        latents, contexts = encoding.codes.encoded, None
        if self.context is not None:
            states = encoding.trajectory.states
            contexts = self.context(latents, states, lags, encoding.mask, places, modality)
        pooled = self.readout(
            encoding.x,
            encoding.scale,
            encoding.mask,
            latents,
            contexts,
            encoding.codes.index,
            places,
            modality,
        )
        name = self._task(task, modality)
        valid = torch.ones_like(encoding.mask) if channel_mask is None else channel_mask
        return Output(
            tau=lags.tau,
            tau_stderr=lags.tau_stderr,
            edge_probability=lags.edge_probability,
            adjacency=encoding.adjacency,
            focal_scores=focal_scores(lags.tau, lags.edge_probability, valid),
            lead=lags.lead.masked_fill(~valid.bool(), -torch.inf),
            pooled=pooled,
            channels=channels,
            tokens=encoding.codes.index if self.config.quantize else None,
            logits=None if name is None else self.heads[name](pooled),
            task=name,
            nfe=encoding.trajectory.nfe,
        )

    @torch.inference_mode()
    def read(
        self,
        x: Num[np.ndarray, "B C T"],
        sample_rate: float,
        channel_mask: Bool[np.ndarray, "B C"],
        modality: str,
        task: str | None = None,
        background: Num[np.ndarray, "B K C U"] | Num[np.ndarray, "K C U"] | None = None,
        positions: Sequence[str] | Float[np.ndarray, "*B C 3"] | None = None,
    ) -> Output:
        """Run `forward` of arrays on the model's own device; the result is on the CPU.

        Parameters
        ----------
        x : array [B, C, T]
            Windows in microvolts (EEG) or millivolts (ECG).
        sample_rate : float
            Hertz.
        channel_mask : array [B, C] of bool
            True where valid.
        modality : one of "eeg", "ecg"
            Of the windows.
        task, background, positions : optional
            As in `forward`.
        """
        device = self.fill.weight.device
        mask = torch.from_numpy(channel_mask).to(device)
        quiet = None if background is None else torch.from_numpy(background).to(device)
        where = torch.from_numpy(positions) if isinstance(positions, np.ndarray) else positions
        out = self(torch.from_numpy(x).to(device), sample_rate, mask, modality, task, quiet, where)
        values: dict[str, Any] = {f.name: getattr(out, f.name) for f in fields(out)}
        return replace(out, **{name: v.cpu() for name, v in values.items() if isinstance(v, Tensor)})

    @torch.inference_mode()
    def read_lead(
        self,
        x: Num[np.ndarray, "B N C T"],
        sample_rate: float,
        channel_mask: Bool[np.ndarray, "B C"],
        modality: str,
        background: Num[np.ndarray, "B K C U"] | Num[np.ndarray, "K C U"] | None = None,
    ) -> Float[np.ndarray, "B C"]:
        """Run `lead` of arrays on the model's own device."""
        device = self.fill.weight.device
        quiet = None if background is None else torch.from_numpy(background).to(device)
        mask = torch.from_numpy(channel_mask).to(device)
        found = self.lead(torch.from_numpy(x).to(device), sample_rate, mask, modality, quiet)
        return found.double().cpu().numpy()

    def lags(
        self,
        x: Tensor,
        sample_rate: float,
        channel_mask: Tensor | None = None,
        modality: str | None = None,
        background: Tensor | None = None,
    ) -> Lags:
        """Infer lags and edges alone: what the readouts need, without motifs and dynamics.

        Arguments as in `forward`.
        """
        modality = self.which_modality(x, sample_rate, modality)
        signal, _, mask = self._prepare(x, sample_rate, channel_mask, modality)
        return self._infer_lags(signal, mask, x, sample_rate, modality, background)

    def lead(
        self,
        x: Tensor,
        sample_rate: float,
        channel_mask: Tensor | None = None,
        modality: str | None = None,
        background: Tensor | None = None,
    ) -> Float[Tensor, "B C"]:
        """Find the first channel of discharges that are seen in several windows each.

        One inference for all windows of a discharge: its delays and gains are common, its waveforms are not.

        Parameters
        ----------
        x : tensor [B, N, C, T]
            N windows of each discharge, in any unit.
        sample_rate, channel_mask, modality, background
            As in `forward`.

        Returns
        -------
        tensor [B, C]
            Log posterior, as `Output.lead`; without lags (`lag: none`) any channel may be the first.
        """
        if x.dim() != 4:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; expected [discharges, windows, channels, samples]"
            )
        modality = self.which_modality(x[:, 0], sample_rate, modality)
        given = torch.ones(x.shape[0], x.shape[2], dtype=torch.bool, device=x.device)
        mask = given if channel_mask is None else channel_mask.bool()
        _, alive = standardise(x.transpose(1, 2).flatten(2), mask)
        if isinstance(self.lag_inference, ZeroLag):
            return any_of(alive).to(x)
        max_lag = self.lag_inference.max_lag(modality)
        source = one_source(x.detach(), float(sample_rate), alive, modality, max_lag, background)
        return source.lead(self.lag_inference.shares(source, alive)).to(x)

    def motifs(
        self, x: Tensor, sample_rate: float, channel_mask: Tensor | None = None, modality: str | None = None
    ) -> tuple[Float[Tensor, "B C T"], Bool[Tensor, "B C"], Codes]:
        """Find the motif of every patch, without the rest; arguments as in `forward`.

        Returns
        -------
        x : tensor [B, C, T]
            Standardised waveform, at the modality's rate.
        mask : tensor [B, C] of bool
            Valid channels that are not flat.
        codes : Codes
            The motifs.
        """
        modality = self.which_modality(x, sample_rate, modality)
        x, _, mask = self._prepare(x, sample_rate, channel_mask, modality)
        return x, mask, self.tokenize(x, mask, modality)

    def attach_head(self, name: str, spec: HeadSpec) -> TaskHead:
        """Add (or replace) a task head; it is saved and loaded with the model."""
        self.heads[name] = TaskHead(self.n_features(spec.modality), spec).to(self.fill.weight)
        self._set_hub_config()
        return self.heads[name]  # type: ignore[return-value]

    def blocks(self, modality: str) -> dict[str, int]:
        """Return the width of each block of `Output.pooled`, in their order."""
        return self.readout.blocks(modality)

    def shares(self, modality: str) -> list[tuple[int, float]]:
        """Return width and share of each block, as a `LinearProbe` takes them."""
        return [(width, SHARES[modality][name]) for name, width in self.blocks(modality).items()]

    def n_features(self, modality: str) -> int:
        """Return F, the length of `Output.pooled`."""
        return sum(self.blocks(modality).values())

    # --- parts ----------------------------------------------------------------------------------------------

    def encode(
        self,
        x: Tensor,
        sample_rate: float,
        channel_mask: Tensor | None,
        modality: str,
        hide: Bool[Tensor, "B C S"] | None = None,
        background: Tensor | None = None,
        look: Bool[Tensor, " B"] | None = None,
    ) -> Encoding:
        """Go from the waveform to the ODE's states.

        Parameters
        ----------
        x, sample_rate, channel_mask, modality, background
            As in `forward`.
        hide : tensor [B, C, S] of bool, optional
            Control steps whose latents the dynamics do not see.
        look : tensor [B] of bool, optional
            In which windows one source is looked for. Default: in all.
        """
        raw = x
        x, scale, mask = self._prepare(x, sample_rate, channel_mask, modality)
        codes = self.tokenize(x, mask, modality)
        lags = self._infer_lags(x, mask, raw, sample_rate, modality, background, look)
        path = control_path(codes.latents)
        seen = path if hide is None else torch.where(hide[..., None], self.hidden.to(path.dtype), path)
        adjacency, trajectory = self._evolve(seen, lags, mask)
        return Encoding(x, scale, mask, modality, codes, lags, path, adjacency, trajectory)

    def _evolve(
        self, path: Float[Tensor, "B C S D"], lags: Lags, mask: Bool[Tensor, "B C"]
    ) -> tuple[Float[Tensor, "B knots C C"], Trajectory]:
        adjacency = self.adjacency(path, lags.weight.to(path.dtype), lags.edge_probability.to(path.dtype))
        return adjacency, self.dynamics(path, adjacency, mask)

    def _infer_lags(
        self,
        signal: Float[Tensor, "B C T"],
        mask: Bool[Tensor, "B C"],
        x: Tensor,
        sample_rate: float,
        modality: str,
        background: Tensor | None,
        look: Bool[Tensor, " B"] | None = None,
    ) -> Lags:
        """Infer lags of standardised windows; one source is sought in x as it was given, unit and rate."""
        if isinstance(self.lag_inference, ZeroLag):
            return self.lag_inference(signal, mask, modality)
        max_lag = self.lag_inference.max_lag(modality)
        source = one_source(x.detach(), float(sample_rate), mask, modality, max_lag, background, look)
        return self.lag_inference(signal, mask, modality, source)

    def tokenize(self, x: Float[Tensor, "B C T"], mask: Bool[Tensor, "B C"], modality: str) -> Codes:
        """Replace standardised windows [B, C, T] by codes; masked channels get tokens that nothing uses."""
        z = self._latents(x, modality)
        return self._replaced(z, mask[:, :, None].expand(z.shape[:3]), modality)

    def _replaced(self, z: Float[Tensor, "B C L D"], counted: Bool[Tensor, "B C L"], modality: str) -> Codes:
        """Replace latents by codes, of which the codebook follows those that are counted."""
        if not self.config.quantize:
            return Codes(z, z, torch.zeros(z.shape[:3], dtype=torch.long, device=z.device), z[..., 0] * 0.0)
        return self.codebook(modality)(z, counted)

    def _latents(self, x: Float[Tensor, "B C T"], modality: str) -> Float[Tensor, "B C L D"]:
        encode = partial(self.encoder, modality=modality)
        rows = recomputed(encode, x.flatten(0, 1), ROWS_AT_ONCE, self.encoder.parameters())
        return rows.unflatten(0, x.shape[:2])

    def codebook(self, modality: str) -> Codebook:
        """Return the codebook of a modality."""
        return self.codebooks["shared" if self.config.shared_codebook else modality]  # type: ignore[return-value]

    def reconstruct(self, encoding: Encoding) -> Float[Tensor, "B C T"]:
        """Decode the standardised waveform [B, C, T] from codes and states."""
        latents = encoding.codes.latents
        b, c, n_tokens, _ = latents.shape
        latents = latents + to_tokens(self.to_latent(encoding.trajectory.states), n_tokens)
        decode = partial(self.decoder, modality=encoding.modality)
        rows = latents.flatten(0, 1)
        return recomputed(decode, rows, ROWS_AT_ONCE, self.decoder.parameters()).unflatten(0, (b, c))

    def fill_spans(
        self,
        x: Float[Tensor, "B C T"],
        hide: Bool[Tensor, "B C L"],
        lags: Lags,
        mask: Bool[Tensor, "B C"],
        modality: str,
        positions: Float[Tensor, "B C 3"] | None = None,
    ) -> Float[Tensor, "B C T"]:
        """Predict the waveform of tokens that are hidden from the whole network.

        Parameters
        ----------
        x : tensor [B, C, T]
            Standardised windows at the modality's rate.
        hide : tensor [B, C, L] of bool
            The hidden tokens.
        lags : Lags
            Of the windows.
        mask : tensor [B, C] of bool
            Valid channels.
        modality : one of "eeg", "ecg"
            Of the windows.
        positions : tensor [B, C, 3], optional
            Places of the channels.
        """
        assert self.context is not None
        shown = x.masked_fill(hide.repeat_interleave(PATCH[modality], 2), 0.0)
        codes = self._replaced(self._latents(shown, modality), torch.zeros_like(hide), modality)
        tokens = torch.where(hide[..., None], self.context.hidden.to(codes.encoded.dtype), codes.encoded)
        driving = torch.where(hide[..., None], self.hidden.to(codes.latents.dtype), codes.latents)
        _, trajectory = self._evolve(control_path(driving), lags, mask)
        context = self.context(tokens, trajectory.states, lags, mask, positions, modality)
        return self.context.waveform(context, modality)

    def update_codebooks(self) -> None:
        """Move the codebooks by what they have seen since the last call: after each optimiser step."""
        for book in self.codebooks.values():
            book.update()  # type: ignore[operator]

    def settle(self) -> None:
        """Fit what follows from the codebooks in closed form: once, after training without labels.

        That is how latents of events are narrowed; without a codebook the random map of fresh weights stays.
        """
        if self.config.quantize:
            for modality in MODALITIES:
                book = self.codebook(modality)
                self.readout.events.settle(book.entries, book.counts, modality)

    def which_modality(self, x: Tensor, sample_rate: float, modality: str | None) -> str:
        """Return the named modality, or a guess from the rate and the number of channels."""
        if x.dim() != 3:
            raise ValueError(f"x has shape {tuple(x.shape)}; expected [batch, channels, samples]")
        if modality is None:
            ecg = sample_rate >= ECG_MIN_RATE_HZ and x.shape[1] <= ECG_MAX_CHANNELS
            modality = "ecg" if ecg else "eeg"
            warnings.warn(
                f"no modality given: {x.shape[1]} channels at {sample_rate:g} Hz are taken for {modality}",
                stacklevel=3,
            )
        if modality not in MODALITIES:
            raise ValueError(f"modality is {modality!r}; known: {', '.join(MODALITIES)}")
        return modality

    def _prepare(
        self, x: Tensor, sample_rate: float, channel_mask: Tensor | None, modality: str
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Bring x to the modality's rate, a whole number of patches, mean zero and variance one a channel.

        Returns x [B, C, T], the deviation that each channel had [B, C], and which are valid and not flat.
        """
        mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        if channel_mask is not None:
            mask = channel_mask.to(torch.bool)
        if mask.shape != x.shape[:2]:
            raise ValueError(f"channel_mask has shape {tuple(mask.shape)}; expected {tuple(x.shape[:2])}")
        x = torch.where(mask[..., None], x, 0.0).to(self.fill.weight.dtype)
        with torch.autocast(x.device.type, enabled=False):
            x = resample(x, float(sample_rate), RATE_HZ[modality])
            patch = PATCH[modality]
            if x.shape[-1] < MIN_PATCHES * patch:
                raise ValueError(
                    f"windows of {x.shape[-1] / RATE_HZ[modality]:.3g} s are too short: at least "
                    f"{MIN_PATCHES * patch / RATE_HZ[modality]:g} s of {modality} are needed"
                )
            scale = x.std(-1, correction=0)
            x, mask = standardise(x, mask)
            return F.pad(x, (0, -x.shape[-1] % patch)), scale, mask

    def _task(self, task: str | None, modality: str) -> str | None:
        if task is not None:
            if task not in self.heads:
                raise ValueError(f"task is {task!r}; this model has {', '.join(self.heads) or 'no heads'}")
            return task
        fitting = [name for name, head in self.heads.items() if head.spec.modality == modality]  # type: ignore
        return fitting[0] if fitting else None

    # --- saving ---------------------------------------------------------------------------------------------

    def _set_hub_config(self) -> None:
        """Set what `save_pretrained` writes to config.json and `from_pretrained` hands to `__init__`."""
        self._hub_mixin_config = {
            "config": self.config.model_dump(mode="json"),
            "tasks": {name: head.spec.to_json() for name, head in self.heads.items()},  # type: ignore
            "provenance": self.provenance,
        }

    def describe(self, **provenance: Any) -> None:
        """Add facts about the training to the model card."""
        self.provenance.update(provenance)
        self._set_hub_config()

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> str | None:
        """Write weights, settings, card, and the sums of weights and settings to a folder."""
        (Path(save_directory) / SUMS).unlink(missing_ok=True)  # of what is replaced
        address = super().save_pretrained(save_directory, **kwargs)
        saved.sign(Path(save_directory))
        return address

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> CLDTrans:
        """Load a folder that `save_pretrained` wrote, "standard", or a model of the hub, as "owner/name".

        "standard" comes with the package: the checkpoint of `make standard`, of docs/model.md.

        Raises
        ------
        DataError
            Where there is no such folder, and it is no name that the hub knows, or the hub has no answer;
            where settings or weights of the folder are not as they were saved, or do not fit together.
        """
        folder = Path(pretrained_model_name_or_path).expanduser()
        if not folder.is_dir() and str(pretrained_model_name_or_path) in saved.shipped_names():
            folder = saved.shipped_folder(str(pretrained_model_name_or_path))
        if folder.is_dir():
            saved.check(folder, cls)
            return super().from_pretrained(folder, **kwargs)
        saved.check_hub_name(pretrained_model_name_or_path, **kwargs)
        return super().from_pretrained(pretrained_model_name_or_path, **kwargs)

    @classmethod
    def _load_as_safetensor(cls, model: Any, model_file: str, map_location: str, strict: bool) -> Any:
        """Find every tensor's place or fail to load: the mixin would pass over the others in silence."""
        return super()._load_as_safetensor(model, model_file, map_location, strict=True)

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """Write the README.md of `save_pretrained`."""
        heads: Any = self.heads
        parameters = sum(p.numel() for p in self.parameters())
        specs = {name: head.spec for name, head in heads.items()}
        return model_card(self.config, parameters, specs, self.provenance)
