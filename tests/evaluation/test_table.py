"""Which numbers stand in the table, and which tables are refused."""

from copy import deepcopy

import pytest

from ladd_ray.evaluation.protocol import with_hash
from ladd_ray.evaluation.table import all_tables, markdown_table, results_table

LATENCY = {"alone": 0.5, "in_batch": 0.125, "batch_size": 8, "height": 64, "width": 48, "machine": "Abacus, 1 thread"}
DOCUMENT = {
    "protocol": with_hash({"num_images": 16, "features": "Corners", "reference": "old photos"}),
    "kid_floor": {"mean": 0.01, "std": 0.002},
    "labels": {"real": "real pictures", "a/student_1": "a, 1 step"},
    "scores": {
        "real": {"kid": {"value": -0.00012}, "judge": {"overall": 1.0, "overall_half_width": 0.0312}},
        "a/student_1": {"kid": {"value": 0.25}, "latency": LATENCY},
    },
}


def rows(table):
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| ")
    ]


def other_document():
    """The same evaluation of another model, on another machine."""
    document = deepcopy(DOCUMENT)
    document["labels"]["b/student_1"] = document["labels"].pop("a/student_1").replace("a", "b")
    scores = document["scores"].pop("a/student_1")
    document["scores"]["b/student_1"] = {**scores, "kid": {"value": 0.125}, "latency": {**LATENCY, "machine": "Quipu"}}
    return document


def test_rows_have_the_numbers_that_there_are():
    assert rows(results_table({"now": DOCUMENT})) == [
        ["sampler", "KID", "judge", "s/image alone", "s/image in batch"],
        ["real pictures", "-0.0001", "1.000 +- 0.031", "-", "-"],
        ["a, 1 step", "0.2500", "-", "0.5000", "0.1250"],
    ]


def test_notes_name_protocol_reference_floor_and_machine():
    table = results_table({"now": DOCUMENT})
    for fact in (
        f"16 pictures in each set, protocol {DOCUMENT['protocol']['hash']}",
        "by Corners to old photos; KID of its own halves 0.0100 +- 0.0020",
        "biased upwards at 16",
        "Seconds on Abacus, 1 thread; a batch is 8 of 64 x 48.",
    ):
        assert fact in table


def test_several_evaluations_share_one_table_and_equal_rows_come_once():
    table = results_table({"now": DOCUMENT, "then": other_document()})
    assert [row[0] for row in rows(table)] == ["sampler", "real pictures", "a, 1 step", "b, 1 step"]
    assert "Seconds of a, 1 step on Abacus" in table and "Seconds of b, 1 step on Quipu" in table


def test_rows_that_agree_fill_each_other_and_rows_that_do_not_stay_apart():
    """Results with fewer scores, in both orders; and results with one other score."""
    fewer, other = other_document(), other_document()
    fewer["scores"]["real"].pop("judge")
    other["scores"]["real"]["kid"] = {"value": 0.5}
    for documents in ({"now": DOCUMENT, "then": fewer}, {"then": fewer, "now": DOCUMENT}):
        real = [row for row in rows(results_table(documents)) if row[0] == "real pictures"]
        assert real == [["real pictures", "-0.0001", "1.000 +- 0.031", "-", "-"]]
    apart = [row[1] for row in rows(results_table({"now": DOCUMENT, "then": other})) if row[0] == "real pictures"]
    assert apart == ["-0.0001", "0.5000"]


def test_other_protocols_are_refused_by_name():
    other = other_document() | {"protocol": with_hash({"num_images": 32, "features": "Corners"})}
    with pytest.raises(ValueError, match=r"(?s)then was scored.*num_images: 32 there, 16 here.*reference: None there"):
        results_table({"now": DOCUMENT, "then": other})


def test_a_table_without_reference_says_nothing_of_distances():
    document = deepcopy(DOCUMENT) | {"kid_floor": None}
    for scores in document["scores"].values():
        scores.pop("kid")
    table = results_table({"now": document})
    assert "Distances" not in table and "KID" not in table


def test_markdown_is_markdown():
    assert markdown_table(["a", "b"], [["1", "2"]]) == "| a | b |\n|---|---|\n| 1 | 2 |"


def with_edits(document, success, *, judge="one"):
    scores = {"real": {"edit": {"success": {"value": 1.0, "half_width": 0.1}, "by_kind": {"move": {"value": 1.0}}}}}
    scores["model"] = {"edit": {"success": {"value": success, "half_width": 0.25}, "rest_psnr": None}}
    labels = {"real": "exact target", "model": f"at {success}"}
    protocol = with_hash({"num_images": 5, "judge": judge})
    return deepcopy(document) | {"tasks": {"edit": {"protocol": protocol, "labels": labels, "scores": scores}}}


def test_every_task_has_a_table_of_its_own():
    """An evaluation from before there were tasks joins the first table only."""
    text = all_tables({"now": with_edits(DOCUMENT, 0.5), "then": with_edits(DOCUMENT, 0.75), "old": DOCUMENT})
    generated, edited = text.split("## Editing")
    assert [row[0] for row in rows(generated)] == ["sampler", "real pictures", "a, 1 step"]
    assert "5 pictures in each set" in edited
    assert rows(edited) == [
        ["sampler", "success", "move"],
        ["exact target", "1.000 +- 0.100", "1.00"],
        ["at 0.5", "0.500 +- 0.250", "-"],
        ["at 0.75", "0.750 +- 0.250", "-"],
    ]


def test_tasks_of_other_protocols_are_refused():
    with pytest.raises(ValueError, match=r"(?s)then was scored.*judge: two there, one here"):
        all_tables({"now": with_edits(DOCUMENT, 0.5), "then": with_edits(DOCUMENT, 0.5, judge="two")})
