"""Edits that several tests look at."""

import pytest

from ladd_ray.data import edits
from ladd_ray.data.edits import Edit
from ladd_ray.data.stickers import FRAMES


@pytest.fixture(scope="package", params=["train", "heldout"])
def drawn(request: pytest.FixtureRequest) -> list[Edit]:
    """Edits of one split in all frames."""
    return [
        edits.edit(0, index, split=request.param, height=FRAMES[index % 3][0], width=FRAMES[index % 3][1])
        for index in range(750)
    ]
