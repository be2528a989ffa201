"""Settings of ``jobs/pretrain.py stickers``: the embedded model from nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from ladd_ray.config import Section

OptimizerName = Literal["adamw", "muon"]
StageName = Literal["autoencoder", "text", "instructions", "transformer", "judge"]


class StageSettings(Section):
    """How long and how fast one stage learns: linear warm-up, cosine to zero, moving average."""

    steps: int = Field(default=1000, ge=1)
    """Optimizer steps."""
    batch_size: int = Field(default=32, ge=1)
    """Scenes per step."""
    optimizer: OptimizerName = "adamw"
    """adamw, or muon for the matrices of the repeated blocks with AdamW for the rest."""
    lr: float = Field(default=1e-3, gt=0)
    """Peak learning rate. Muon's updates are scaled to the size of AdamW's, so one rate serves both."""
    lr_warmup_steps: int = Field(default=100, ge=0)
    """Steps of linear warm-up."""
    ema_decay: float = Field(default=0.998, ge=0, lt=1)
    """Decay of the moving average, which is what the stage delivers."""
    bf16: bool = True
    """Matrix products in bf16 (autocast); weights stay fp32."""


class PretrainConfig(Section):
    """The embedded model, from nothing."""

    directory: str = "runs/pretrain-stickers"
    """Where checkpoints, curves and sample pictures go. The same command continues here."""
    output: str = "runs/pretrain-stickers/pipeline"
    """The finished Stable Diffusion 3 folder."""
    stages: tuple[StageName, ...] = ("autoencoder", "text", "instructions", "transformer")
    """Stages to run, in order. The transformer needs text towers and an encoder; the decoder may still be learning.
    The judge is no part of the model and is not trained with it: scores compare only where the judge is the same."""
    seed: int = 0
    """Seed of weights, scenes and noise."""
    device: str = "cpu"
    """Torch device."""
    threads: int = Field(default=2, ge=1)
    """CPU threads."""
    checkpoint_every_s: float = Field(default=60.0, gt=0)
    """Seconds between checkpoints."""
    num_scenes: int = Field(default=96_000, ge=1)
    """Scenes encoded once for the transformer stage."""
    prompt_dropout: float = Field(default=0.1, ge=0, le=1)
    """Share of empty prompts, which classifier-free guidance needs."""
    noise_mean: float = 0.8
    """Mean of the logit-normal noise level. 0 is Stable Diffusion 3's; with 16 tokens, what goes where is decided at
    levels above .85, which are rare at 0."""
    noise_std: float = Field(default=1.2, gt=0)
    """Standard deviation of that level."""
    autoencoder: StageSettings = StageSettings(steps=8000, batch_size=8, ema_decay=0.995)
    text: StageSettings = StageSettings(steps=700, batch_size=128)
    transformer: StageSettings = StageSettings(steps=3600, batch_size=96, optimizer="muon", lr=3e-3)
    judge: StageSettings = StageSettings(steps=4000, batch_size=32, lr=2e-3)

    instructions: StageSettings = StageSettings(steps=400, batch_size=128, lr=3e-3)

    @property
    def root(self) -> Path:
        """Absolute working folder."""
        return Path(self.directory).expanduser().resolve()
