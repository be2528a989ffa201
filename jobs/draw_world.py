"""Draw a contact sheet of the embedded world: scenes, frames, edits and inpainting masks.

python jobs/draw_world.py --output docs/world.png
python jobs/draw_world.py --seed 7 --output /tmp/world.png
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tyro

from ladd_ray.evaluation.world_sheet import world_sheet


def draw(output: Path = Path("docs/world.png"), seed: int = 0) -> None:
    """Write the picture.

    Args:
        output: The PNG to write.
        seed: Which scenes, edits and masks are shown.
    """
    world_sheet(output, seed=seed)
    print(output)


def main() -> None:
    """Command line of the drawing job."""
    tyro.cli(draw, description=__doc__)


if __name__ == "__main__":
    main()
