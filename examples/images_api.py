"""Draw, edit, fill and stream with the official client of OpenAI: `make serve`, then `python examples/images_api.py`.

Files land in the current folder. The key is what LADD_RAY_API_KEYS of the endpoint names; without keys, anything.
"""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path

import openai
from PIL import Image, ImageDraw

client = openai.OpenAI(
    base_url=os.environ.get("IMAGES_URL", "http://127.0.0.1:8000/v1"), api_key=os.environ.get("IMAGES_KEY", "none")
)


def save(text: str, name: str) -> bytes:
    """Write a picture of an answer."""
    file = base64.b64decode(text)
    Path(name).write_bytes(file)
    print(name)
    return file


def mask_of_the_middle(picture: bytes) -> bytes:
    """Alpha 0 marks what is to change. It stays as a file, for `images_api.sh`."""
    width, height = Image.open(io.BytesIO(picture)).size
    alpha = Image.new("L", (width, height), 255)
    ImageDraw.Draw(alpha).rectangle((width // 4, height // 4, 3 * width // 4, 3 * height // 4), fill=0)
    mask = Image.new("RGBA", (width, height))
    mask.putalpha(alpha)
    mask.save("mask.png")
    print("mask.png")
    return Path("mask.png").read_bytes()


def main() -> None:
    """Every verb of the API once."""
    apples = client.images.generate(prompt="a red apple", n=2, extra_body={"seed": 1})
    first, _ = (save(image.b64_json or "", f"apple-{index}.png") for index, image in enumerate(apples.data or []))

    for event in client.images.generate(prompt="two blue fish", stream=True, partial_images=3):
        kind = event.type.rpartition(".")[2]
        index = event.partial_image_index if event.type == "image_generation.partial_image" else ""
        save(event.b64_json, f"fish-{kind}{index}.png")

    if "edit" not in client.models.retrieve("default").tasks:  # type: ignore[attr-defined]
        print("this model only generates: serve one that jobs/distill.py trained on three tasks")
        return
    edited = client.images.edit(image=("apple.png", first), prompt="make the background blue")
    save((edited.data or [])[0].b64_json or "", "edited.png")
    filled = client.images.edit(image=first, mask=mask_of_the_middle(first), prompt="a green pear")
    save((filled.data or [])[0].b64_json or "", "filled.png")


if __name__ == "__main__":
    main()
