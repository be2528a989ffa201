"""The hash follows every fact and nothing else, and scores of different hashes are told apart by name."""

import json
from dataclasses import fields, replace

import pytest

from ladd_ray.evaluation.protocol import HASH, EvaluationProtocol, TaskProtocol, require_same_protocol, with_hash

PROTOCOL = EvaluationProtocol(
    num_images=256,
    sizes=((64, 64), (64, 96)),
    prompts="0123456789abcdef",
    seed=2024,
    num_diversity_prompts=16,
    num_diversity_seeds=4,
    student_steps=(1, 2, 4),
    teacher_steps=28,
    teacher_guidance=3.0,
    teacher_shift=None,
    features="EffNetLite0",
    reference="held-out scenes",
    judge="fedcba9876543210",
    clip=None,
)

TASK_PROTOCOL = TaskProtocol(
    task="edit",
    num_images=128,
    sizes=((64, 64),),
    exercises="0123456789abcdef",
    seed=2024,
    student_steps=(1, 2, 4),
    teacher_steps=28,
    teacher_guidance=3.0,
    image_guidance=1.5,
    teacher_shift=None,
    features="EffNetLite0",
    judge="fedcba9876543210",
)


def test_facts_stand_there_as_in_a_file():
    document = PROTOCOL.to_dict()
    assert json.loads(json.dumps(document)) == document
    assert len(document[HASH]) == 16 and int(document[HASH], 16) >= 0
    assert document == PROTOCOL.to_dict()


@pytest.mark.parametrize(
    ("protocol", "name"),
    [(protocol, field.name) for protocol in (PROTOCOL, TASK_PROTOCOL) for field in fields(protocol)],
)
def test_every_fact_changes_the_hash_and_is_named(protocol, name):
    other = replace(protocol, **{name: "something else"}).to_dict()
    assert other[HASH] != protocol.to_dict()[HASH]
    with pytest.raises(ValueError, match=f"(?s)yesterday.*{name}: something else there.*score both anew") as refused:
        require_same_protocol(protocol.to_dict(), other, where="yesterday")
    assert str(refused.value).count(" there, ") == 2  # the hashes, and the one fact


def test_equal_protocols_compare():
    require_same_protocol(PROTOCOL.to_dict(), json.loads(json.dumps(PROTOCOL.to_dict())), where="a copy")


def test_scores_without_a_protocol_do_not_compare():
    with pytest.raises(ValueError, match="another protocol"):
        require_same_protocol(PROTOCOL.to_dict(), {}, where="something old")


def test_the_order_of_facts_does_not_matter():
    assert with_hash({"a": 1, "b": (2, 3)})[HASH] == with_hash({"b": [2, 3], "a": 1})[HASH]
