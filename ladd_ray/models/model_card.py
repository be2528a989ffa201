"""The README of an exported folder: how plain diffusers draws with it. Its Python runs inside the folder as it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from ladd_ray.models.folder import T5_TOKENS
from ladd_ray.models.strengths import Strengths

HEAD: Final = """\
---
library_name: diffusers
pipeline_tag: {tag}
---
# {name}

{sentence}
`ladd.json` says how it was made.

```python
import torch
from diffusers import {pipeline_class}

pipeline = {pipeline_class}.from_pretrained({opening})  # this folder
pipeline.to("cuda" if torch.cuda.is_available() else "cpu")
"""

FEW_STEPS: Final = """\
levels = {levels}

torch.manual_seed(0)  # seeds the first noise, and the fresh noise of every later step
"""

MANY_STEPS: Final = """\

torch.manual_seed(0)
"""

PICTURE: Final = """
from PIL import Image

picture = Image.new("RGB", (64, 64), "white")  # the picture to go on from
mask = Image.new("L", picture.size, 0)
mask.paste(255, (32, 0, 64, 64))  # white where to draw

"""

FOOT: Final = """\
image.save("image.png")
```
"""

LEVELS_NOTE: Final = """
Always pass `sigmas`: the model knows these noise levels only. For fewer steps take every n-th level,
`levels[::2]` or `levels[:1]`. Guidance stays off.
"""

TASKS_NOTE: Final = """
Inpainting always wants `strength=1.0`. To edit, pass an all white mask and the picture's own latents,
`masked_image_latents=pipeline.vae.encode(pixels).latent_dist.mode()`, with the instruction as prompt.
"""

KNOBS_NOTE: Final = """
This student has guidance knobs. Stock diffusers draws at text guidance {text:g} and image guidance {image:g}.
Where `strengths.safetensors` lies here, `ladd_ray.inference.Pipeline` turns them:
`edit(images, instructions, text_guidance=..., image_guidance=...)`.
"""


def model_card(
    folder: Path,
    name: str,
    *,
    levels: Sequence[float] | None,
    three_tasks: bool,
    strengths: Strengths | None = None,
    method: str | None = None,
) -> str:
    """The text for a complete pipeline folder.

    Args:
        folder: its parts, for the sizes that the code has to name.
        name: the title.
        levels: of a student's sampler; None for a model of many steps.
        three_tasks: it edits and inpaints, beside drawing from a prompt.
        strengths: where the guidance knobs of a student stand; None where there are none.
        method: how a student was distilled, with its paper.
    """
    t5_tokens = _t5_tokens(folder)
    head = HEAD.format(
        tag="image-to-image" if three_tasks else "text-to-image",
        name=name,
        sentence=_sentence(levels, three_tasks=three_tasks, method=method),
        pipeline_class="StableDiffusion3InpaintPipeline" if three_tasks else "StableDiffusion3Pipeline",
        opening='"."' if t5_tokens is not None else '".", text_encoder_3=None, tokenizer_3=None',
    )
    seed = MANY_STEPS if levels is None else FEW_STEPS.format(levels=list(levels))
    notes = ("" if levels is None else LEVELS_NOTE) + (TASKS_NOTE if three_tasks else "")
    if strengths is not None:
        notes += KNOBS_NOTE.format(text=strengths.text, image=strengths.image)
    call = _call(levels, three_tasks=three_tasks, max_sequence_length=t5_tokens or 0)
    return head + (PICTURE if three_tasks else "") + seed + call + FOOT + notes


def _sentence(levels: Sequence[float] | None, *, three_tasks: bool, method: str | None) -> str:
    tasks = "draws, edits and inpaints" if three_tasks else "draws"
    if levels is None:
        return f"A model of the Stable Diffusion 3 family, trained further by flow matching. It {tasks} in many steps."
    by = f" by {method}" if method else ""
    return (
        f"A few-step model of the Stable Diffusion 3 family, distilled{by}.\n"
        f"It {tasks} in 1 to {len(levels)} steps without guidance."
    )


def _call(levels: Sequence[float] | None, *, three_tasks: bool, max_sequence_length: int) -> str:
    sampler = ["num_inference_steps=28", "guidance_scale=4.0"]
    if levels is not None:
        sampler = ["num_inference_steps=len(levels)", "sigmas=levels", "guidance_scale=1.0"]
    size = ["height=picture.height", "width=picture.width"]
    picture = ["image=picture", "mask_image=mask", "strength=1.0", *size] if three_tasks else []
    arguments = ['"a red apple left of a banana on a blue background"', *picture, *sampler]
    arguments.append(f"max_sequence_length={max_sequence_length}")
    return "image = pipeline(\n" + "".join(f"    {argument},\n" for argument in arguments) + ").images[0]\n"


def _t5_tokens(folder: Path) -> int | None:
    settings = folder / "tokenizer_3" / "tokenizer_config.json"
    if not settings.is_file():
        return None
    facts: dict[str, Any] = json.loads(settings.read_text())
    return min(T5_TOKENS, int(facts.get("model_max_length", T5_TOKENS)))
