"""What an evaluation will do, and what it refuses before anything is drawn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ladd_ray.training.evaluation.plan import RESULTS, prepare_evaluation
from tests.training.evaluation.conftest import Configure

COMPARABLE = [{"run__batch_size": 2}, {"run__num_workers": 3}, {"num_sample_prompts": 1}, {"output": "elsewhere"}]
INCOMPARABLE = [
    {"num_images": 8}, {"seed": 1}, {"sizes": ((64, 64),)}, {"reference": "none"}, {"student__steps": (1,)},
    {"teacher__num_inference_steps": 3}, {"teacher__guidance_scale": 2.0}, {"teacher__shift": 3.0},
    {"diversity__num_seeds": 3}, {"scores": ("kid",)},
]  # fmt: skip


def write_results(folder: Path, protocol: dict[str, object]) -> Path:
    folder.mkdir(parents=True)
    (folder / RESULTS).write_text(json.dumps({"protocol": protocol}))
    return folder


def test_pictures_take_turns_in_size_and_keep_it_when_drawn_again(configure: Configure) -> None:
    plan = prepare_evaluation(configure())
    assert [sample.number for sample in plan.samples] == list(range(6 + 2 * 2))
    first, second = ((sample.prompt, sample.height, sample.width) for sample in plan.samples[:2])
    again = [(sample.prompt, sample.height, sample.width) for sample in plan.samples[6:]]
    assert again == [first, first, second, second]
    assert (first[1:], second[1:]) == ((64, 64), (64, 96))
    assert plan.asked.scenes is not None
    assert [scene.caption for scene in plan.asked.scenes] == [sample.prompt for sample in plan.samples[:6]]


def test_the_untrained_network_draws_like_the_first_model_at_its_most_steps(
    configure: Configure, run_folder: Path, tiny_folder: Path
) -> None:
    plan = prepare_evaluation(configure(run_folder, tiny_folder))
    names = [contender.name for contender in plan.contenders]
    teacher = f"{tiny_folder.parent.name}/teacher"
    assert names == ["my-run/student_1", "my-run/student_2", teacher, "untrained"]
    assert plan.contenders[-1].model == str(run_folder / "export")
    assert plan.contenders[-1].num_inference_steps == plan.main.num_inference_steps == 2


@pytest.mark.parametrize("changes", COMPARABLE)
def test_how_the_work_is_done_does_not_change_the_protocol(configure: Configure, changes: dict[str, object]) -> None:
    assert prepare_evaluation(configure(**changes)).protocol == prepare_evaluation(configure()).protocol


@pytest.mark.parametrize("changes", INCOMPARABLE)
def test_what_changes_scores_changes_the_protocol(configure: Configure, changes: dict[str, object]) -> None:
    assert prepare_evaluation(configure(**changes)).protocol["hash"] != prepare_evaluation(configure()).protocol["hash"]


def test_models_do_not_change_the_protocol(configure: Configure, run_folder: Path, tiny_folder: Path) -> None:
    assert prepare_evaluation(configure(tiny_folder)).protocol == prepare_evaluation(configure(run_folder)).protocol


def test_prompts_of_a_file_are_repeated_and_have_no_scenes(configure: Configure, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red apple\n\na cat\n")
    plan = prepare_evaluation(configure(prompts=str(prompts)))
    assert plan.asked.prompts == ("a red apple", "a cat") * 3
    assert plan.asked.scenes is None and plan.reference is None
    assert plan.config.chosen_scores == ("diversity", "latency")
    assert plan.protocol["judge"] is None


def test_results_under_another_protocol_are_not_overwritten(configure: Configure) -> None:
    plan = prepare_evaluation(configure())
    write_results(plan.output, plan.protocol)
    prepare_evaluation(configure())
    with pytest.raises(ValueError, match=r"(?s)results was scored under another.*seed: 2024 there, 1 here"):
        prepare_evaluation(configure(seed=1))


def test_earlier_results_join_only_under_the_same_protocol(configure: Configure, tmp_path: Path) -> None:
    protocol = prepare_evaluation(configure()).protocol
    same = write_results(tmp_path / "same", protocol)
    plan = prepare_evaluation(configure(compare_with=(str(same),)))
    assert plan.earlier == {str(same): {"protocol": protocol}}
    other = write_results(tmp_path / "other", prepare_evaluation(configure(num_images=8)).protocol)
    with pytest.raises(ValueError, match=r"(?s)other was scored.*num_images: 8 there, 6 here"):
        prepare_evaluation(configure(compare_with=(str(other),)))
    with pytest.raises(ValueError, match=r"holds no results\.json"):
        prepare_evaluation(configure(compare_with=(str(tmp_path / "nothing"),)))


def test_missing_weights_are_refused(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no judge"):
        prepare_evaluation(configure(judge=str(tmp_path)))


def test_a_relative_output_lies_in_the_home_of_results(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LADD_RAY_HOME", str(tmp_path))
    assert prepare_evaluation(configure(output="scores")).output == tmp_path / "scores"


def test_the_description_says_what_would_run(configure: Configure) -> None:
    plan = prepare_evaluation(configure())
    description = plan.describe()
    for fact in (
        "my-run, 2 steps",
        "my-run, 2 steps, untrained",
        "10 each on this process",
        plan.protocol["hash"],
        "judge",
    ):
        assert fact in description
