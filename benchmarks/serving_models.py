"""Everything a request passes through on a GPU, with random weights: text towers, student, autoencoder.

Shape legend: b prompts, l tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from diffusers import AutoencoderKL
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from benchmarks.workload import MakeTransformer
from ladd_ray.inference import Pipeline
from ladd_ray.interfaces import Condition
from ladd_ray.models.autoencoder import Autoencoder
from ladd_ray.models.prompt_encoder import PromptEncoder
from ladd_ray.models.sd3 import SD3Denoiser

LEVELS: Final = (1.0, 0.75, 0.5, 0.25)
CLIP_TOKENS: Final = 77


@dataclass(frozen=True)
class Parts:
    """Sizes of all but the transformer."""

    clip: tuple[Mapping[str, Any], Mapping[str, Any]]
    t5: Mapping[str, Any]
    t5_tokens: int
    autoencoder: Mapping[str, Any]


_BLOCKS: Final = 4
FULL_PARTS: Final = Parts(
    clip=(
        {
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "projection_dim": 768,
        },
        {
            "hidden_size": 1280,
            "intermediate_size": 5120,
            "num_hidden_layers": 32,
            "num_attention_heads": 20,
            "projection_dim": 1280,
            "hidden_act": "gelu",
        },
    ),
    t5={
        "d_model": 4096,
        "d_kv": 64,
        "d_ff": 10240,
        "num_layers": 24,
        "num_heads": 64,
        "vocab_size": 32128,
        "feed_forward_proj": "gated-gelu",
    },
    t5_tokens=256,
    autoencoder={"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2},
)
"""Of Stable Diffusion 3 and 3.5."""

_TINY_CLIP: Final = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "projection_dim": 32,
}
TINY_PARTS: Final = Parts(
    clip=(_TINY_CLIP, _TINY_CLIP),
    t5={"d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "vocab_size": 32},
    t5_tokens=5,
    autoencoder={"block_out_channels": (8, 8, 8, 8), "layers_per_block": 1, "norm_num_groups": 4},
)


def random_student(
    make_transformer: MakeTransformer, parts: Parts, *, device: torch.device
) -> tuple[Pipeline, Condition]:
    """A student without text towers, and an encoded prompt for it."""
    precision = "bf16" if device.type == "cuda" else "fp32"
    autoencoder = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * _BLOCKS,
        up_block_types=("UpDecoderBlock2D",) * _BLOCKS,
        latent_channels=16,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=1.5305,
        shift_factor=0.0609,
        **parts.autoencoder,
    )
    denoiser = SD3Denoiser(make_transformer(precision, device))
    pipeline = Pipeline(
        denoiser,
        prompt_encoder=_NoTowers(),
        autoencoder=Autoencoder(autoencoder.to(_dtype(device)), device=device),
        levels=LEVELS,
        device=device,
    )
    embeds = torch.zeros(1, CLIP_TOKENS + parts.t5_tokens, denoiser.prompt_size, device=device)
    return pipeline, Condition(embeds, torch.zeros(1, denoiser.pooled_size, device=device))


def random_towers(parts: Parts, *, device: torch.device) -> dict[str, Callable[[int], None]]:
    """By name, what encodes so many prompts by each text tower."""
    with torch.device(device):
        clips = [CLIPTextModelWithProjection(CLIPTextConfig(**sizes)) for sizes in parts.clip]
        t5 = T5EncoderModel(T5Config(**parts.t5))
    towers = {"CLIP-L": (clips[0], CLIP_TOKENS), "CLIP-G": (clips[1], CLIP_TOKENS), "T5": (t5, parts.t5_tokens)}
    return {name: _encoder(tower.to(_dtype(device)).eval(), tokens) for name, (tower, tokens) in towers.items()}


def _encoder(tower: nn.Module, num_tokens: int) -> Callable[[int], None]:
    device = next(tower.parameters()).device

    def encode(count: int) -> None:
        tower(torch.ones(count, num_tokens, dtype=torch.long, device=device))

    return encode


def _dtype(device: torch.device) -> torch.dtype:
    return torch.bfloat16 if device.type == "cuda" else torch.float32


class _NoTowers(PromptEncoder):
    """Where prompts come encoded."""

    def __init__(self) -> None:
        self._towers = []
