"""Sheets of what a model draws, with the judge's verdict under every picture, and a table of how often it is right."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from ladd_ray.data.stickers import FRAMES
from ladd_ray.evaluate_config import EvaluateConfig, ShowcaseConfig
from ladd_ray.evaluation.contact_sheet import Cell, Row, Section, contact_sheet
from ladd_ray.evaluation.judge import share
from ladd_ray.evaluation.judge_edits import edits_done, facts_right
from ladd_ray.evaluation.table import markdown_table
from ladd_ray.models.judge import Judge
from ladd_ray.training.cluster import cluster
from ladd_ray.training.evaluation.candidates import Candidate, contenders_of, editing, find_candidates
from ladd_ray.training.evaluation.exhibits import GALLERIES, SQUARE, Exhibit, Gallery, Rooms
from ladd_ray.training.evaluation.plan import crew_of, judge_folder
from ladd_ray.training.painting import Contender, Crew, Picture, paint

logger = logging.getLogger(__name__)

TABLE = "table.md"


@dataclass(frozen=True, eq=False)
class Judged:
    """An exhibit as it was drawn."""

    exhibit: Exhibit
    picture: Picture
    right: bool
    """Whether the judge reads every fact in it."""


JudgedRooms = Mapping[str, Sequence[Judged]]


def draw_showcase(config: ShowcaseConfig) -> Path:
    """Draw and judge everything, and write the sheets and the table; returns their folder.

    Raises:
        ValueError: there is no such model, or it cannot draw as asked.
    """
    evaluation = _evaluation(config)
    (candidate,) = find_candidates(evaluation, fetch=True)
    judge = Judge.from_pretrained(judge_folder(evaluation))
    output = Path(config.output).expanduser()
    output.mkdir(parents=True, exist_ok=True)
    tables = []
    with cluster(evaluation) if config.run.num_workers else nullcontext():
        for task in GALLERIES if candidate.three_tasks else ("generate",):
            contender = _contender(task, candidate, config=evaluation)
            rooms = GALLERIES[task].rooms(config.seed, config.count)
            judged = _judged(rooms, contender, crew=crew_of(config.run), judge=judge)
            _write_sheet(GALLERIES[task], judged, output=output, shown=config.shown)
            tables.append(f"## {GALLERIES[task].title}\n\n{contender.label}\n\n{_table(judged)}")
    text = "\n\n".join([_heading(candidate, config), *tables]) + "\n"
    (output / TABLE).write_text(text)
    logger.info("\n%s", text)
    return output


def _evaluation(config: ShowcaseConfig) -> EvaluateConfig:
    return EvaluateConfig(
        models=(config.model,),
        sizes=FRAMES,
        seed=config.seed,
        judge=config.judge,
        teacher=config.teacher,
        student=config.student,
        run=config.run,
    )


def _contender(task: str, candidate: Candidate, *, config: EvaluateConfig) -> Contender:
    contender = list(contenders_of(candidate, config))[-1]
    return editing(contender, config.teacher.image_guidance_scale) if task == "edit" else contender


def _judged(rooms: Rooms, contender: Contender, *, crew: Crew, judge: Judge) -> JudgedRooms:
    exhibits = [exhibit for room in rooms.values() for exhibit in room]
    ((_, pictures),) = paint([contender], [exhibit.sample for exhibit in exhibits], crew=crew)
    verdicts = _verdicts(exhibits, pictures, judge=judge)
    drawn = iter(map(Judged, exhibits, pictures, verdicts))
    return {kind: [next(drawn) for _ in room] for kind, room in rooms.items()}


def _verdicts(exhibits: Sequence[Exhibit], pictures: Sequence[Picture], *, judge: Judge) -> list[bool]:
    """Of one task: an edit is right when it was done, any other picture when its facts are."""
    targets = [exhibit.target for exhibit in exhibits]
    if all(exhibit.sample.source is not None and exhibit.sample.hole is None for exhibit in exhibits):
        sources = [picture for exhibit in exhibits for picture in exhibit.given]
        return edits_done(pictures, sources, targets=targets, read=judge.read)
    return facts_right(pictures, targets, read=judge.read)


def _write_sheet(gallery: Gallery, judged: JudgedRooms, *, output: Path, shown: int) -> None:
    rows = []
    for kind, room in judged.items():
        # Wide pictures, and those with neighbours, are fewer in a row of the same width.
        columns = shown * SQUARE[1] // (gallery.pictures_each * room[0].exhibit.sample.width)
        rows.append(Row(f"{kind}\n{_right(room)} of {len(room)}", [_cell(item) for item in room[:columns]]))
    contact_sheet([Section(gallery.title, gallery.note, rows)], output / gallery.file)


def _cell(item: Judged) -> Cell:
    exhibit = item.exhibit
    pictures = [*exhibit.given, item.picture, *exhibit.exact]
    return Cell(pictures, exhibit.sample.prompt, right=item.right, marked=len(exhibit.given))


def _right(room: Sequence[Judged]) -> int:
    return sum(item.right for item in room)


def _heading(candidate: Candidate, config: ShowcaseConfig) -> str:
    return (
        f"Model {candidate.name} ({candidate.fingerprint}), seed {config.seed}. Right is what shows every fact of the "
        "held-out scene in the judge's eyes; half widths are of 95 % intervals."
    )


def _table(judged: JudgedRooms) -> str:
    everything = [item for room in judged.values() for item in room]
    rows = []
    for kind, room in {**judged, "all": everything}.items():
        part = share([item.right for item in room])
        rows.append([kind, str(_right(room)), str(part.n), f"{part.value:.2f} +- {part.half_width:.2f}"])
    return markdown_table(["kind", "right", "of", "share"], rows)
