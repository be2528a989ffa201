"""Runs the stages in order and writes the finished pipeline folder.

The working folder keeps the trained parts, the judge, and the stages' checkpoints and curves; the output folder is a
stock Stable Diffusion 3 pipeline with weights in bf16.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from ladd_ray.models import embedded
from ladd_ray.models.autoencoder import Autoencoder
from ladd_ray.models.embedded import EmbeddedShape
from ladd_ray.models.prompt_encoder import PromptEncoder
from ladd_ray.training.pretraining.autoencoder import heldout_psnr, train_decoder, untrained_autoencoder
from ladd_ray.training.pretraining.instructions import train_instruction_words
from ladd_ray.training.pretraining.judge import train_judge
from ladd_ray.training.pretraining.judge_report import write_accuracy
from ladd_ray.training.pretraining.settings import PretrainConfig
from ladd_ray.training.pretraining.text import train_text_towers
from ladd_ray.training.pretraining.transformer import train_transformer

logger = logging.getLogger(__name__)


def pretrain(config: PretrainConfig) -> None:
    """Train what ``config.stages`` names; the transformer's stage writes ``config.output``.

    Raises:
        ValueError: a stage needs one that has not been run in this directory, or nothing can be written there.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(config.threads)
    shape = EmbeddedShape()
    parts = config.root / "parts"
    try:
        parts.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot write to {config.root} ({error}): set directory to a folder of yours") from error
    if "autoencoder" in config.stages:
        autoencoder = untrained_autoencoder(config, shape)
        embedded.save_autoencoder(autoencoder, parts)
        autoencoder = train_decoder(autoencoder, config)
        logger.info("autoencoder: held-out PSNR %.2f dB", heldout_psnr(autoencoder, config.device))
        embedded.save_autoencoder(autoencoder, parts)
    if "text" in config.stages:
        towers, tokenizer = train_text_towers(config, shape)
        embedded.save_text(towers, tokenizer, parts)
    if "instructions" in config.stages:
        _train_instructions(config, shape, parts)
    if "transformer" in config.stages:
        _train_transformer(config, shape, parts)
    if "judge" in config.stages:
        _train_judge(config, parts)


def _train_transformer(config: PretrainConfig, shape: EmbeddedShape, parts: Path) -> None:
    untrained = config.root / "untrained"
    embedded.save_pipeline(embedded.build_transformer(shape), parts, untrained, shape=shape)
    transformer = train_transformer(
        config,
        shape,
        autoencoder=Autoencoder.from_pretrained(untrained, precision="fp32", device=config.device),
        encoder=PromptEncoder.from_pretrained(untrained, precision="fp32", device=config.device),
    )
    output = Path(config.output).expanduser().resolve()
    output.parent.mkdir(parents=True, exist_ok=True)
    embedded.save_pipeline(transformer, parts, output, shape=shape, dtype=torch.bfloat16)
    logger.info("wrote %s", output)


def _train_instructions(config: PretrainConfig, shape: EmbeddedShape, parts: Path) -> None:
    towers, tokenizer = embedded.load_text(parts)
    towers, tokenizer = train_instruction_words(config, shape, towers=towers, tokenizer=tokenizer)
    embedded.save_text(towers, tokenizer, parts)


def _train_judge(config: PretrainConfig, parts: Path) -> None:
    folder = config.root / "judge"
    train_judge(config).save(folder)
    autoencoder = None
    if (parts / "vae").is_dir():
        autoencoder = Autoencoder(embedded.load_autoencoder(parts), device=config.device)
    for line in write_accuracy(folder, autoencoder=autoencoder):
        logger.info("%s", line)
    logger.info("wrote %s", folder)
