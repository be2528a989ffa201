"""Prompts to embeddings, by the stock pipeline's own code.

Shape legend: b prompts, l prompt tokens, e embedding width, p pooled width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline

from ladd_ray.config import Precision
from ladd_ray.interfaces import Condition
from ladd_ray.models.folder import T5_TOKENS, dtype_of, local_name, require_sd3, shape_config
from ladd_ray.models.independent_rows import make_rows_independent


class PromptEncoder:
    """The frozen text towers of a Stable Diffusion 3 pipeline."""

    def __init__(
        self,
        pipeline: StableDiffusion3Pipeline,
        *,
        device: torch.device | str,
        max_sequence_length: int = T5_TOKENS,
    ) -> None:
        self._pipeline = pipeline
        self._device = torch.device(device)
        longest = pipeline.tokenizer_3.model_max_length if pipeline.tokenizer_3 is not None else 0
        self.max_sequence_length = min(max_sequence_length, longest)
        """T5 tokens; 0 without a T5, in whose place the stock pipeline would append as many zero tokens."""
        towers = pipeline.text_encoder, pipeline.text_encoder_2, pipeline.text_encoder_3
        self._towers = [tower for tower in towers if tower is not None]
        for tower in self._towers:
            tower.requires_grad_(False).eval().to(self._device)

    @classmethod
    def from_pretrained(
        cls,
        path: Path | str,
        *,
        precision: Precision,
        device: torch.device | str,
        max_sequence_length: int = T5_TOKENS,
    ) -> Self:
        """Loads the text towers of a folder or hub name, and neither its transformer nor its autoencoder."""
        absent = {name: None for name, kind in require_sd3(path).items() if kind == [None, None]}
        # Without a T5 the stock code asks the transformer for the prompt width: a bare shell answers.
        with torch.device("meta"):
            shell = SD3Transformer2DModel.from_config(shape_config(path), num_layers=0)
        pipeline = StableDiffusion3Pipeline.from_pretrained(
            local_name(path), transformer=shell, vae=None, dtype=dtype_of(precision), **absent
        )
        return cls(pipeline, device=device, max_sequence_length=max_sequence_length)

    def make_rows_independent(self) -> None:
        """Let a prompt be the same alone and in any batch, bit for bit; see ``models.independent_rows``."""
        for tower in self._towers:
            make_rows_independent(tower)

    @property
    def token_limit(self) -> int:
        """Tokens, those that mark the ends included, beyond which every tower cuts a prompt."""
        return max(self.max_sequence_length, *(int(tokenizer.model_max_length) for tokenizer in self._clip_tokenizers))

    def num_tokens(self, prompt: str) -> int:
        """Tokens of a prompt for the tower that reads furthest, those that mark the ends included."""
        reads_furthest = self.max_sequence_length == self.token_limit
        tokenizer = self._pipeline.tokenizer_3 if reads_furthest else self._clip_tokenizers[0]
        return len(tokenizer(prompt).input_ids)

    @property
    def _clip_tokenizers(self) -> list[Any]:
        return [self._pipeline.tokenizer, self._pipeline.tokenizer_2]

    def encode(self, prompts: Sequence[str]) -> Condition:
        """Embeddings (b, l, e) and (b, p) on the encoder's device; ``encode([""])`` is the negative prompt.

        Exactly what ``StableDiffusion3Pipeline.encode_prompt`` gives. Prompts beyond 77 CLIP tokens are cut.
        """
        prompt = [prompts] if isinstance(prompts, str) else list(prompts)
        prompt_embeds, _, pooled_prompt_embeds, _ = self._pipeline.encode_prompt(
            prompt=prompt,
            prompt_2=None,
            prompt_3=None,
            device=self._device,
            do_classifier_free_guidance=False,
            max_sequence_length=self.max_sequence_length,
        )
        return Condition(prompt_embeds, pooled_prompt_embeds)
