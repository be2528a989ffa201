"""The embedded model: a complete, small Stable Diffusion 3 folder that this project trains itself.

Same family, same shapes in small: an autoencoder with 16 channels and 8x downsampling, two CLIP text towers with
projection, and an SD3 transformer of depth d and hidden size 64 d with qk RMS norm and 2x2 patches.

There is no T5. The stock pipeline opens a folder only when its third text slot is filled, so a T5 of four thousand
weights sits there whose output is exactly zero: what the pipeline itself puts in place of a missing T5. Sampling
and training use one such token (``max_sequence_length=1``).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)


@dataclass(frozen=True)
class EmbeddedShape:
    """Sizes of the embedded model; the defaults are those of the committed weights."""

    vae_channels: tuple[int, int, int, int] = (16, 24, 48, 96)
    """Width of the autoencoder at full, half, quarter and eighth resolution."""
    text_width: int = 128
    """Hidden and projected width of each text tower."""
    text_layers: int = 2
    """Layers of each text tower."""
    max_tokens: int = 20
    """Prompt length in tokens, start and end included."""
    depth: int = 4
    """Depth d of the transformer: d blocks, d heads of 64, hidden size 64 d."""
    sample_size: int = 8
    """Latent height and width of the default image."""


def build_autoencoder(shape: EmbeddedShape) -> AutoencoderKL:
    """A random autoencoder: 8x down, 16 channels, as Stable Diffusion 3's."""
    stages = len(shape.vae_channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * stages,
        up_block_types=("UpDecoderBlock2D",) * stages,
        block_out_channels=shape.vae_channels,
        layers_per_block=1,
        latent_channels=16,
        norm_num_groups=8,
        sample_size=shape.sample_size * 2 ** (stages - 1),
        scaling_factor=1.0,
        shift_factor=0.0,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def build_text_tower(shape: EmbeddedShape, tokenizer: CLIPTokenizer) -> CLIPTextModelWithProjection:
    """A random CLIP text model with projection over this tokenizer's vocabulary."""
    return CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=shape.text_width,
            intermediate_size=4 * shape.text_width,
            projection_dim=shape.text_width,
            num_hidden_layers=shape.text_layers,
            num_attention_heads=max(1, shape.text_width // 64),
            max_position_embeddings=shape.max_tokens,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_silent_t5(shape: EmbeddedShape) -> T5EncoderModel:
    """A T5 encoder that answers every token with zeros: all its weights are 0, so that folders are reproducible."""
    width = 2 * shape.text_width
    encoder = T5EncoderModel(
        T5Config(vocab_size=4, d_model=width, d_kv=1, d_ff=1, num_layers=1, num_heads=1, decoder_start_token_id=0)
    )
    for weight in encoder.parameters():
        nn.init.zeros_(weight)
    return encoder


def build_silent_t5_tokenizer() -> T5Tokenizer:
    """The tokenizer of the silent T5: every letter is unknown to it."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -1.0)]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=1)


def build_transformer(shape: EmbeddedShape) -> SD3Transformer2DModel:
    """A random SD3 transformer of depth d."""
    return SD3Transformer2DModel(
        sample_size=shape.sample_size,
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=shape.depth,
        num_attention_heads=shape.depth,
        attention_head_dim=64,
        caption_projection_dim=64 * shape.depth,
        joint_attention_dim=2 * shape.text_width,
        pooled_projection_dim=2 * shape.text_width,
        pos_embed_max_size=2 * shape.sample_size,
        qk_norm="rms_norm",
    )


def assemble(
    transformer: SD3Transformer2DModel,
    autoencoder: AutoencoderKL,
    towers: tuple[CLIPTextModelWithProjection, CLIPTextModelWithProjection],
    tokenizer: CLIPTokenizer,
    *,
    shape: EmbeddedShape,
) -> StableDiffusion3Pipeline:
    """The stock pipeline over these parts, with the flow-match Euler scheduler and a silent T5."""
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
        vae=autoencoder,
        text_encoder=towers[0],
        tokenizer=tokenizer,
        text_encoder_2=towers[1],
        tokenizer_2=tokenizer,
        text_encoder_3=build_silent_t5(shape),
        tokenizer_3=build_silent_t5_tokenizer(),
    )


def save_autoencoder(autoencoder: AutoencoderKL, parts: Path) -> None:
    """Keeps a trained autoencoder among the parts."""
    autoencoder.save_pretrained(parts / "vae")


def load_autoencoder(parts: Path) -> AutoencoderKL:
    """The autoencoder among the parts, in fp32."""
    autoencoder: AutoencoderKL = AutoencoderKL.from_pretrained(parts / "vae")
    return autoencoder


def save_text(towers: Sequence[CLIPTextModelWithProjection], tokenizer: CLIPTokenizer, parts: Path) -> None:
    """Keeps both trained text towers and their tokenizer among the parts."""
    for number, tower in enumerate(towers):
        tower.save_pretrained(parts / f"text_encoder_{number}")
    tokenizer.save_pretrained(parts / "tokenizer")


def load_text(parts: Path) -> tuple[list[CLIPTextModelWithProjection], CLIPTokenizer]:
    """Both text towers among the parts, in fp32, and their tokenizer.

    Raises:
        ValueError: they have not been trained yet.
    """
    if not (parts / "tokenizer").is_dir():
        raise ValueError(f"{parts} has no text towers: run the stage text first")
    towers = [CLIPTextModelWithProjection.from_pretrained(parts / f"text_encoder_{number}") for number in (0, 1)]
    return towers, CLIPTokenizer.from_pretrained(parts / "tokenizer")


def save_pipeline(
    transformer: SD3Transformer2DModel,
    parts: Path,
    output: Path,
    *,
    shape: EmbeddedShape,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write the pipeline folder of this transformer and the trained parts; the output appears whole or not at all.

    Raises:
        ValueError: a part has not been trained yet.
    """
    missing = [name for name in ("vae", "text_encoder_0", "tokenizer") if not (parts / name).is_dir()]
    if missing:
        raise ValueError(f"{parts} has no {', '.join(missing)}: run the stages autoencoder and text first")
    towers, tokenizer = load_text(parts)
    pipeline = assemble(transformer, load_autoencoder(parts), (towers[0], towers[1]), tokenizer, shape=shape)
    unfinished = output.with_name(output.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    for part in (pipeline.transformer, pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2):
        part.to(dtype)
    # diffusers would store the path of the part, which means nothing on another machine.
    pipeline.vae.register_to_config(_name_or_path="")
    pipeline.save_pretrained(unfinished)
    _compute_text_in_fp32(unfinished)
    shutil.rmtree(output, ignore_errors=True)
    unfinished.rename(output)


def _compute_text_in_fp32(folder: Path) -> None:
    """Notes fp32 beside the bf16 weights: the towers then compute in it, as diffusers lets the other parts do."""
    for name in ("text_encoder", "text_encoder_2"):
        note = folder / name / "config.json"
        note.write_text(json.dumps(json.loads(note.read_text()) | {"dtype": "float32"}, indent=2) + "\n")


def committed_model() -> Path:
    """The folder of the committed weights, of many steps.

    Raises:
        ValueError: the package came without them.
    """
    return _committed("sd3-stickers", remake="jobs/pretrain.py stickers --output {folder}")


def committed_student() -> Path:
    """The folder of what was distilled from them, in few steps; its ``ladd.json`` says how.

    Raises:
        ValueError: the package came without it.
    """
    return _committed("sd3-stickers-turbo", remake="jobs/distill.py stickers_tasks_turbo")


def _committed(name: str, *, remake: str) -> Path:
    folder = Path(str(files("ladd_ray"))) / "assets" / name
    if not folder.is_dir():
        raise ValueError(f"no embedded model at {folder}: run {remake.format(folder=folder)}")
    return folder
