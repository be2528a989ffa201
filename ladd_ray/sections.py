"""The sections of a configuration: every setting with its default, its meaning and its range.

Checks that need one section only stand here; those between sections are in ``config.py``. Every message says what
to do.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Precision = Literal["fp32", "bf16"]
ZeroStage = Literal[0, 1, 2, 3]


class Section(BaseModel):
    """Base of all sections: frozen, and an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class TeacherConfig(Section):
    """The frozen network: teacher, discriminator backbone and generator of the training latents in one."""

    path: str = "stickers"
    """'stickers' (the embedded model), a Stable Diffusion 3 folder in diffusers' layout, or a hub name such as
    stabilityai/stable-diffusion-3.5-large."""
    precision: Precision = "fp32"
    """Precision of the frozen weights and of the sampler."""
    sharded: bool = False
    """Shard the frozen weights with ZeRO-3. Saves memory, costs an all-gather per block: replicate while it fits."""


class NoiseConfig(Section):
    """Noise levels: the ONE schedule that training, evaluation, export and serving share (paper, section 3)."""

    levels: tuple[float, ...] = (1.0, 0.75, 0.5, 0.25)
    """Levels sigma that the student is trained at and that its sampler visits, falling, beginning with 1."""
    probabilities: tuple[float, ...] = (0.7, 0.1, 0.1, 0.1)
    """Chance of each level. Stated by the paper for more than 512 x 512 pixels; below that it is our choice."""
    warmup_probabilities: tuple[float, ...] = (0.0, 0.0, 0.5, 0.5)
    """Chance of each level during the warm-up."""
    warmup_steps: int = Field(default=0, ge=0)
    """Length of the warm-up in steps (paper: 500 above 512 x 512 pixels)."""
    renoise_mean: float = 1.0
    """Mean m of the logit-normal level at which the judge looks (paper: 1). Larger: more global feedback."""
    renoise_std: float = Field(default=1.0, gt=0)
    """Standard deviation s of that level (paper: 1)."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("probabilities", "warmup_probabilities"):
            chances = getattr(self, name)
            if len(chances) != len(self.levels):
                raise ValueError(
                    f"noise.{name} has {len(chances)} entries for {len(self.levels)} levels: give one for each"
                )
            if min(chances) < 0 or abs(sum(chances) - 1) > 1e-6:
                raise ValueError(f"noise.{name} = {chances} must not be negative and must sum to 1")
        falling = all(a > b for a, b in zip(self.levels, self.levels[1:], strict=False))
        if not falling or self.levels[0] != 1 or self.levels[-1] <= 0:
            raise ValueError(f"noise.levels = {self.levels} must fall from 1 (pure noise) and stay above 0")
        return self


class OptimizerConfig(Section):
    """AdamW, its schedule, and how its state is sharded."""

    lr: float = Field(default=1e-5, gt=0)
    """Peak learning rate. Billions of parameters want 1e-6 to 5e-6."""
    betas: tuple[float, float] = (0.0, 0.99)
    """Adam's decay rates; a first rate of 0 is usual in adversarial training."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay."""
    lr_warmup_steps: int = Field(default=0, ge=0)
    """Steps of linear warm-up of the learning rate."""
    lr_schedule: Literal["constant", "cosine", "linear"] = "constant"
    """How the learning rate goes on after the warm-up; cosine and linear fall to 0 at the last step."""
    gradient_clipping: float = Field(default=1.0, ge=0)
    """Largest global gradient norm; 0 turns clipping off."""
    zero_stage: ZeroStage = 0
    """DeepSpeed ZeRO stage: 0 replicates, 1 shards the optimizer, 2 also gradients, 3 also weights."""
    offload_optimizer: bool = False
    """Keep the optimizer state in host memory (slow; for models that do not fit otherwise)."""


class NetworkConfig(OptimizerConfig):
    """A whole transformer that learns."""

    precision: Precision = "fp32"
    """Precision of forward and backward; bf16 keeps fp32 master weights."""
    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    """Decay of the moving average that is evaluated and exported; 0 turns it off."""
    activation_checkpointing: bool = False
    """Recompute the activations of student and judge in the backward pass: less memory, two more forwards."""


class StudentConfig(NetworkConfig):
    """The network that is distilled; it starts as a copy of the teacher."""

    guidance_knobs: bool = False
    """Teach the student how strongly text and source picture are followed, as two inputs that serving can turn (ours).
    The training set must then be drawn at varied strengths."""


class EvaluationConfig(Section):
    """What is measured when training ends."""

    num_images: int = Field(default=256, ge=2)
    """Images per set for KID, with held-out prompts."""
    num_diversity_prompts: int = Field(default=16, ge=1)
    """Prompts drawn with several seeds for the diversity score."""
    num_diversity_seeds: int = Field(default=4, ge=2)
    """Seeds per prompt."""
    student_steps: tuple[int, ...] = (1, 2, 4)
    """Numbers of student steps to draw and to score."""
    num_sample_prompts: int = Field(default=8, ge=1)
    """Columns of samples.png."""
    num_exercises: int = Field(default=128, ge=1)
    """Held-out edits, and as many holes, for a student that was trained on these tasks of the embedded world."""
    num_knob_edits: int = Field(default=64, ge=1)
    """Edits that are drawn at every setting of each guidance knob."""
    num_knob_settings: int = Field(default=5, ge=2)
    """Strengths over the trained range of each guidance knob."""
    batch_size: int = Field(default=64, ge=1)
    """Images drawn at once."""
    seed: int = 2024
    """Seed of all evaluation noise; apart from the training seed, so that runs compare."""


class MilestoneConfig(Section):
    """Scores while training, of the student's moving average on held-out prompts. What is learned does not change."""

    every: int = Field(default=0, ge=0)
    """Steps between two scores; the last step is scored too. 0 scores only what a finished run exports."""
    num_images: int = Field(default=128, ge=4)
    """Held-out prompts; KID compares their pictures with as many by the guided teacher."""
    num_inference_steps: int = Field(default=4, ge=1)
    """Steps of the student."""
    reference: str | None = None
    """Folder of the teacher's pictures; by default one in run.directory that runs with the same settings share."""


class TrackingConfig(Section):
    """MLflow."""

    uri: str | None = None
    """Tracking server; by default an sqlite file in run.directory."""
    experiment: str = "ladd_ray"
    """MLflow experiment."""
    parent_run_id: str | None = None
    """MLflow run that this one is a part of, as trials are of a sweep."""
    log_every: int = Field(default=5, ge=1)
    """Steps between two logged points."""
    register_as: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name in MLflow's registry under which the finished model becomes a new version: models:/NAME/1, ..."""
    alias: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Alias that moves to that version, such as champion: endpoints that serve models:/NAME@champion roll over."""

    @model_validator(mode="after")
    def _check_alias(self) -> Self:
        if self.alias is None:
            return self
        if self.register_as is None:
            raise ValueError(f"tracking.alias = {self.alias} names a registered version: set tracking.register_as too")
        if re.fullmatch(r"latest|v[0-9]+", self.alias, re.IGNORECASE):
            raise ValueError(f"tracking.alias = {self.alias} is what MLflow itself calls versions: choose another one")
        return self


class RunConfig(Section):
    """Where, how long, on what."""

    name: str = Field(default="stickers", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the run and of its folder. The same name and configuration continue the run."""
    directory: str = "runs"
    """Folder of all runs, on storage that all workers share. A relative one lies in $LADD_RAY_HOME where
    that is set, else in ~/ladd_ray when the command runs as a submitted Ray job, else in the working directory."""
    steps: int = Field(default=400, ge=1)
    """Optimizer steps."""
    seed: int = 0
    """Seed of data order, noise and heads."""
    num_workers: int = Field(default=2, ge=0)
    """Ray Train workers. 0 runs the loop in this process, for debugging."""
    global_batch_size: int = Field(default=32, ge=1)
    """Samples per optimizer step over all workers; it does not change with their number."""
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    """Micro batches that a worker makes of its share. Heads step within the last one, before the student's turn, so
    only that one meets their new weights."""
    device: Literal["cpu", "gpu"] = "cpu"
    """One GPU per worker, or CPU threads."""
    threads_per_worker: int = Field(default=1, ge=1)
    """CPU threads (and Ray CPUs) of a worker. Workers x threads beyond the cores of the machine crawl."""
    engine: Literal["deepspeed", "local"] = "deepspeed"
    """deepspeed shards over workers; local is a single device without DeepSpeed."""
    compile_teacher: bool = False
    """torch.compile the frozen features (GPU)."""
    checkpoint_every: int = Field(default=100, ge=1)
    """Steps between checkpoints; the last step always makes one."""
    checkpoints_to_keep: int = Field(default=2, ge=1)
    """Latest checkpoints that stay on disk."""
    max_failures: int = Field(default=3, ge=0)
    """Worker failures after which the run gives up; each restart continues from the last checkpoint. A teacher that
    draws while training is started again as often."""
    cluster_timeout_s: float = Field(default=45.0, gt=0)
    """Seconds to wait for the cluster to offer the workers asked for."""
    deterministic: bool = False
    """Only deterministic kernels; slower on GPU."""

    @property
    def micro_batch_size(self) -> int:
        """Samples per worker and forward."""
        return self.global_batch_size // self._shares

    @property
    def path(self) -> Path:
        """Absolute folder of the run."""
        return Path(self.directory).expanduser().resolve() / self.name

    @property
    def _shares(self) -> int:
        return max(self.num_workers, 1) * self.gradient_accumulation_steps

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.global_batch_size % self._shares:
            raise ValueError(
                f"run.global_batch_size = {self.global_batch_size} cannot be shared out evenly to "
                f"{max(self.num_workers, 1)} workers x {self.gradient_accumulation_steps} micro batches"
            )
        if self.engine == "local" and self.num_workers > 1:
            raise ValueError(
                "run.engine = local runs on one device: set run.num_workers to 1, or run.engine to deepspeed"
            )
        return self
