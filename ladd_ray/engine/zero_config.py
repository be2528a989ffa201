"""DeepSpeed's configuration as a pure function of ours. No deepspeed in here."""

from __future__ import annotations

from typing import Any

from ladd_ray.config import OptimizerConfig

BUCKET_SIZE = 50_000_000
"""Values reduced or gathered at once. DeepSpeed's 5e8 takes 2 GB per engine, and there are several."""


def deepspeed_config(
    settings: OptimizerConfig, *, micro_batch_size: int, gradient_accumulation_steps: int, world_size: int
) -> dict[str, Any]:
    """The configuration of a trainable network.

    Raises:
        ValueError: offloading without a sharded optimizer.
    """
    if settings.offload_optimizer and settings.zero_stage == 0:
        raise ValueError("offload_optimizer needs a sharded optimizer: set zero_stage to 1, 2 or 3")
    bf16 = getattr(settings, "precision", "fp32") == "bf16"
    return {
        "train_micro_batch_size_per_gpu": micro_batch_size,
        "gradient_accumulation_steps": gradient_accumulation_steps,
        "train_batch_size": micro_batch_size * gradient_accumulation_steps * world_size,
        # DeepSpeed clips at 1.0 when nothing is said.
        "gradient_clipping": settings.gradient_clipping,
        "zero_optimization": _zero_section(settings),
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "wall_clock_breakdown": False,
        **_precision_sections(bf16=bf16, zero_stage=settings.zero_stage),
    }


def frozen_config(*, micro_batch_size: int, bf16: bool) -> dict[str, Any]:
    """The configuration of a frozen network sharded with ZeRO-3."""
    return {
        "train_micro_batch_size_per_gpu": micro_batch_size,
        "zero_optimization": {"stage": 3},
        "wall_clock_breakdown": False,
        **_precision_sections(bf16=bf16, zero_stage=3),
    }


def _precision_sections(*, bf16: bool, zero_stage: int) -> dict[str, Any]:
    """bf16 weights with fp32 masters; micro batches add up in fp32 where DeepSpeed can (stages 2 and 3)."""
    sections: dict[str, Any] = {"bf16": {"enabled": bf16}}
    if bf16 and zero_stage >= 2:
        sections["data_types"] = {"grad_accum_dtype": "fp32"}
    return sections


def _zero_section(settings: OptimizerConfig) -> dict[str, Any]:
    section: dict[str, Any] = {
        "stage": settings.zero_stage,
        "reduce_bucket_size": BUCKET_SIZE,
        "allgather_bucket_size": BUCKET_SIZE,
    }
    if settings.offload_optimizer:
        section["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    return section
