"""ECG-FM and NeuroLM beside their authors' code: benchmarks/originals.py FAIRSEQ_SIGNALS NEUROLM [--write].

Two checkouts, of Jwoo5/fairseq-signals and 935963004/NeuroLM (both MIT), neither of which installs here:
the modules of the networks alone are imported, with placeholders for what these import and do not use. Each
network of theirs gets random weights and writes a checkpoint; ours loads it, and both read the same windows.
Needs einops, which comes with the extra `baselines`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from report import DOCS, add_write_option, publish
from torch import Tensor, nn

from cldtrans.baselines.borrowed.adapter import Adapter
from cldtrans.baselines.ecg_fm import EcgFm
from cldtrans.baselines.neurolm import PLACES, NeuroLm
from cldtrans.data.base import Task
from cldtrans.data.montages.ecg_leads import LEADS

PAGE = DOCS / "baselines.md"
TASK = Task("toy", "binary", ("no", "yes"))
NOISE = 0.02  # added to every weight, so that none is what a constructor makes it


def placeholder(name: str, **names: Any) -> None:
    """Put a module of these names in the place of one that is not installed."""
    module = types.ModuleType(name)
    vars(module).update(names)
    sys.modules[name] = module


class Wav2Vec(nn.Module):
    """fairseq-signals' modules, put together as its `wav2vec2` model names and calls them."""

    def __init__(self, checkout: Path) -> None:
        super().__init__()
        package = types.ModuleType("fairseq_signals")  # whose own start asks for all of the library
        package.__path__ = [str(checkout / "fairseq_signals")]
        sys.modules["fairseq_signals"] = package
        placeholder("fairseq_signals.distributed.utils")
        placeholder("fairseq_signals.distributed", utils=sys.modules["fairseq_signals.distributed.utils"])
        from fairseq_signals import modules

        settings = argparse.Namespace(
            encoder_embed_dim=768,
            encoder_layers=12,
            encoder_ffn_embed_dim=3072,
            encoder_attention_heads=12,
            dropout=0.0,
            attention_dropout=0.0,
            activation_dropout=0.1,
            layer_norm_first=False,
            saliency=False,
            encoder_layerdrop=0.0,
            conv_pos=128,
            conv_pos_groups=16,
        )
        self.feature_extractor = modules.ConvFeatureExtraction([(256, 2, 2)] * 4, in_d=12)
        self.layer_norm = nn.LayerNorm(256)
        self.post_extract_proj = nn.Linear(256, 768)
        self.conv_pos = modules.ConvPositionalEncoding(settings)
        self.encoder = modules.TransformerEncoder(settings)
        self.mask_emb = nn.Parameter(torch.rand(768))
        self.quantizer = modules.GumbelVectorQuantizer(256, 320, (2, 0.5, 1), 2, False, 256, True)
        self.project_q, self.final_proj = nn.Linear(256, 256), nn.Linear(768, 256)

    def forward(self, x: Tensor) -> Tensor:
        """Average the tokens of a standardised segment."""
        tokens = self.post_extract_proj(self.layer_norm(self.feature_extractor(x).transpose(1, 2)))
        return self.encoder(tokens + self.conv_pos(tokens))["x"].mean(1)


def ecg_fm(checkout: Path, folder: Path) -> dict[str, str]:
    """Compare ECG-FM on two windows of two segments."""
    theirs = scattered(Wav2Vec(checkout))
    torch.save({"model": theirs.state_dict(), "cfg": {}}, folder / "ecg_fm.pt")
    x = torch.randn(2, 12, 5000).cumsum(-1)
    z = (x - x.mean(-1, keepdim=True)) / x.std(-1, correction=0, keepdim=True)
    with torch.no_grad():
        found = (theirs(z[..., :2500]) + theirs(z[..., 2500:])) / 2
    ours = EcgFm(TASK, LEADS, 500.0, "ecg", 0, 1, weights=str(folder / "ecg_fm.pt"))
    return row(ours, x, found, sum(p.numel() for p in theirs.parameters()))


def neurolm(checkout: Path, folder: Path) -> dict[str, str]:
    """Compare NeuroLM-B on two windows of three channels and four seconds."""
    sys.path.insert(0, str(checkout))
    placeholder("transformers", GPT2LMHeadModel=None)
    from model.model import GPTConfig
    from model.model_neurolm import NeuroLM

    theirs = scattered(NeuroLM(GPTConfig(vocab_size=50257), init_from="scratch"))
    torch.save({"model": theirs.state_dict(), "model_args": {}}, folder / "neurolm.pt")
    names, seconds = ("FP1-F7", "F7-T7", "FZ-CZ"), 4
    ours = NeuroLm(TASK, names, 200.0, "eeg", 0, 1, weights=str(folder / "neurolm.pt"))
    x = 50 * torch.randn(2, len(names), 200 * seconds)
    n = len(names) * seconds
    patches = (x / 100).unflatten(-1, (seconds, 200)).transpose(1, 2).flatten(1, 2)
    place = torch.tensor([PLACES.index(name) for name in ours.names]).repeat(seconds).expand(2, -1)
    second = torch.arange(seconds).repeat_interleave(len(names)).expand(2, -1)
    seen = torch.ones(n, n).tril()
    for k in range(0, n, len(names)):
        seen[k : k + len(names), k : k + len(names)] = 1
    with torch.no_grad():
        tokens = theirs.tokenizer(
            patches, place, second, torch.ones(2, 1, n, n, dtype=torch.bool), return_all_tokens=True
        )
        tokens = theirs.encode_transform_layer(tokens) + theirs.pos_embed(place)
        mask = seen.bool().expand(2, 1, n, n)
        found = theirs.GPT2(x_eeg=tokens, eeg_time_idx=second, eeg_mask=mask, lm_head=False).mean(1)
    return row(ours, x, found, theirs.get_num_params())


def scattered(network: nn.Module) -> Any:
    """Move every weight of a network a little; ready to be evaluated."""
    with torch.no_grad():
        for p in network.parameters():
            p.add_(NOISE * torch.randn_like(p))
    return network.eval()


def row(ours: Adapter, x: Tensor, theirs: Tensor, parameters: int) -> dict[str, str]:
    """Compare what reaches our head, of windows x, with theirs."""
    network = ours.started(x.shape[-1], 0).eval()
    found: list[Tensor] = []
    network.get_submodule(ours.head).register_forward_pre_hook(lambda module, given: found.append(given[0]))
    with torch.no_grad():
        network(ours.prepared(x))
    return {
        "network": ours.card.title,
        "parameters by their code": f"{parameters:,}".replace(",", " "),
        "loading": ours.notes[0],
        "largest difference of features": f"{float((found[0] - theirs).abs().max()):.1g}",
        "their mean size": f"{float(theirs.abs().mean()):.2f}",
    }


def main() -> None:
    """Compare, print, publish."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("fairseq_signals", type=Path)
    parser.add_argument("neurolm", type=Path)
    add_write_option(parser, PAGE)
    args = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        rows = [ecg_fm(args.fairseq_signals, Path(folder)), neurolm(args.neurolm, Path(folder))]
    publish("originals", pd.DataFrame(rows), args.write, page=PAGE)


if __name__ == "__main__":
    main()
