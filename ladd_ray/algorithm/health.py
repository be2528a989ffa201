"""How the judge is doing, by head and by noise level. [ours]

    accuracy      share of logits on the right side of 0; one half is a guess
    logit_gap     mean logit on real latents minus mean logit on the student's
    dead_hinge    share of logits beyond the margin of the hinge, which teach the heads nothing

Shape legend: b batch, h w height and width of the token map, n heads, k figures, s bins of the noise level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from torch import Tensor
from torch.nn import functional

FIGURES = ("accuracy", "logit_gap", "dead_hinge")
NUM_BINS = 4
"""Equal bins of the noise level in [0, 1]."""


@dataclass(frozen=True)
class Verdict:
    """What the heads said about one micro batch, without a graph."""

    real: tuple[Tensor, ...]
    """Logits on real latents (b, h, w), of every head."""
    fake: tuple[Tensor, ...]
    """Logits on the student's latents (b, h, w), of every head."""
    sigma: Tensor
    """Level at which the judge looked (b,)."""

    @classmethod
    def of(cls, real: Sequence[Tensor], fake: Sequence[Tensor], *, sigma: Tensor) -> Verdict:
        """From logits that may have a graph."""
        return cls(tuple(logits.detach() for logits in real), tuple(logits.detach() for logits in fake), sigma)


def tally(verdict: Verdict) -> dict[str, float]:
    """Sums over samples by head and bin, with names of their own, to be averaged over ranks before ``figures``."""
    bins = functional.one_hot((NUM_BINS * verdict.sigma).long().clamp(max=NUM_BINS - 1), NUM_BINS).double()
    pairs = zip(verdict.real, verdict.fake, strict=True)
    rows = torch.stack([_figures_of_rows(real.double(), fake.double()) for real, fake in pairs])
    sums = einsum(rows, bins, "n k b, b s -> n k s").flatten().tolist()
    names = [
        f"{head}/{figure}/{place}"
        for head in range(len(verdict.real))
        for figure in FIGURES
        for place in range(NUM_BINS)
    ]
    counts = {f"count/{place}": count for place, count in enumerate(bins.sum(dim=0).tolist())}
    return {**dict(zip(names, sums, strict=True)), **counts}


def figures(tallies: Mapping[str, float]) -> dict[str, float]:
    """Metrics ``health/head_0/accuracy`` and ``health/sigma_0.25_0.5/accuracy``; a bin without samples has none."""
    counts = [tallies[f"count/{place}"] for place in range(NUM_BINS)]
    num_heads = (len(tallies) - NUM_BINS) // (len(FIGURES) * NUM_BINS)
    metrics = {}
    for figure in FIGURES:
        sums = [[tallies[f"{head}/{figure}/{place}"] for place in range(NUM_BINS)] for head in range(num_heads)]
        for head, by_bin in enumerate(sums):
            metrics[f"health/head_{head}/{figure}"] = sum(by_bin) / sum(counts)
        for place, count in enumerate(counts):
            if count:
                in_bin = sum(by_bin[place] for by_bin in sums)
                metrics[f"health/{_bin_name(place)}/{figure}"] = in_bin / (count * num_heads)
    return metrics


def _figures_of_rows(real: Tensor, fake: Tensor) -> Tensor:
    """Logits (b, h, w) of a head -> its ``FIGURES`` for every sample (k, b)."""
    real, fake = rearrange(real, "b h w -> b (h w)"), rearrange(fake, "b h w -> b (h w)")
    accuracy = torch.cat([real > 0, fake < 0], dim=1).double().mean(dim=1)
    dead_hinge = torch.cat([real > 1, fake < -1], dim=1).double().mean(dim=1)
    return torch.stack([accuracy, real.mean(dim=1) - fake.mean(dim=1), dead_hinge])


def _bin_name(place: int) -> str:
    return f"sigma_{place / NUM_BINS:g}_{(place + 1) / NUM_BINS:g}"
