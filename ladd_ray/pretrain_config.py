"""The configuration of continued training: one tree, like ``config.Config``, for ``jobs/pretrain.py``.

Every message says what to do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from ladd_ray.data_sections import EMBEDDED, TaskDataConfig, TaskShares
from ladd_ray.sections import NetworkConfig, RunConfig, Section, TrackingConfig

__all__ = [
    "DropoutConfig",
    "FinetuneConfig",
    "FlowNoiseConfig",
    "FlowOptimizerConfig",
    "ModelConfig",
    "TaskDataConfig",
    "TaskShares",
    "ValidationConfig",
]


class ModelConfig(Section):
    """The model whose training goes on."""

    path: str = EMBEDDED
    """'stickers' (the embedded model), a Stable Diffusion 3 folder in diffusers' layout, or a hub name such as
    stabilityai/stable-diffusion-3-medium-diffusers."""
    three_tasks: bool = True
    """Generate, edit and inpaint: a text-to-image model gets input channels for mask and source, which start at zero.
    Without it the model only generates."""
    learned_positions: bool = False
    """Let the table of positions learn as well. For pictures of few tokens; SD3 keeps it fixed."""


class FlowOptimizerConfig(NetworkConfig):
    """AdamW for a loss that does not fight back, its schedule, precision and moving average."""

    lr: float = Field(default=1e-4, gt=0)
    """Peak learning rate. Billions of parameters want 1e-5 to 5e-5."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Adam's decay rates."""
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the moving average that is validated and written; 0 turns it off."""
    autocast: bool = False
    """Matrix products in bf16 while weights and sums stay fp32: a third faster on CPUs. On GPUs use precision bf16."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.autocast and self.precision != "fp32":
            raise ValueError("optimizer.autocast is for fp32 weights: set optimizer.precision = fp32, or autocast off")
        return self


class FlowNoiseConfig(Section):
    """Noise levels of the flow-matching loss: logit-normal, shifted (SD3 paper, equations 19 and 23)."""

    mean: float = 0.0
    """Mean of the logit-normal level; larger spends more steps on the large forms."""
    std: float = Field(default=1.0, gt=0)
    """Standard deviation of that level."""
    shift: float = Field(default=1.0, gt=0)
    """Moves levels towards noise; 3 at 1024 px, where the same noise hides less (SD3 paper)."""


class DropoutConfig(Section):
    """Conditions that are left out, so that guidance has something to lead away from. InstructPix2Pix: 5 % each."""

    text: float = Field(default=0.05, ge=0, le=1)
    """Share of samples without text."""
    image: float = Field(default=0.05, ge=0, le=1)
    """Share without source picture. Inpainting keeps its picture always: the hole is the task."""
    both: float = Field(default=0.05, ge=0, le=1)
    """Share without either; of inpainting, without text."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.text + self.image + self.both > 1:
            raise ValueError("dropout.text, dropout.image and dropout.both exclude each other and must not exceed 1")
        return self


class ValidationConfig(Section):
    """The flow-matching loss of held-out rows under the moving average, by task and noise level."""

    every: int = Field(default=500, ge=1)
    """Steps between two validations; the last step always makes one."""
    batch_size: int = Field(default=64, ge=1)
    """Rows per forward of a worker."""
    max_rows: int = Field(default=512, ge=1)
    """Rows that are looked at."""


class FinetuneConfig(Section):
    """A whole continued training."""

    recipe: str = "stickers_tasks"
    """The recipe this configuration began as."""
    model: ModelConfig = ModelConfig()
    optimizer: FlowOptimizerConfig = FlowOptimizerConfig()
    noise: FlowNoiseConfig = FlowNoiseConfig()
    dropout: DropoutConfig = DropoutConfig()
    data: TaskDataConfig = TaskDataConfig()
    validation: ValidationConfig = ValidationConfig()
    tracking: TrackingConfig = TrackingConfig()
    run: RunConfig = RunConfig(name="stickers-tasks")

    @property
    def run_directory(self) -> Path:
        """Absolute folder of this run."""
        return self.run.path

    @model_validator(mode="after")
    def _check(self) -> Self:
        shares = self.data.tasks
        if not self.model.three_tasks and shares.edit + shares.inpaint > 0:
            raise ValueError(
                "model.three_tasks = False only generates: set data.tasks.edit and data.tasks.inpaint to 0, "
                "or model.three_tasks = True"
            )
        if self.data.heldout_share <= 0:
            raise ValueError("data.heldout_share = 0 leaves nothing to validate with: give a share such as 0.01")
        if self.data.source == EMBEDDED and self.data.num_rows < self.run.global_batch_size:
            raise ValueError(
                f"data.num_rows = {self.data.num_rows} does not fill one global batch of "
                f"{self.run.global_batch_size}: raise it, or make the batch smaller"
            )
        return self
