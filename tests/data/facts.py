"""What scenes hold and what English says of them, told without the code under test."""

from collections import Counter

from ladd_ray.data.stickers import CONCEPTS, Scene
from ladd_ray.data.wording import NUMBERS, PLURALS

COUNTS = {"a": 1, "an": 1, "one": 1, **{word: number for number, word in NUMBERS.items()}}
SINGULARS = {PLURALS.get(concept, f"{concept}s"): concept for concept in CONCEPTS}


def concepts(scene: Scene) -> Counter[str]:
    return Counter(item.concept for item in scene.objects)


def boxes(scene: Scene) -> list[tuple[int, int, int, int]]:
    return sorted(item.box for item in scene.objects)


def singular(noun: str) -> str:
    return noun if noun in CONCEPTS else SINGULARS[noun]
