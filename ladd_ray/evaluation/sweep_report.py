"""report.html: a sweep for people, rewritten while it runs; needs no network. Its page is in ``assets/sweeps``."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ladd_ray.evaluation.sweep_page import page_content
from ladd_ray.evaluation.sweep_pictures import study_picture
from ladd_ray.evaluation.sweep_study import configurations, studied
from ladd_ray.evaluation.sweep_table import study_table
from ladd_ray.sweep_records import BEST_FILE, BestRecord, read_record, read_sweep

REPORT_FILE, PLOTLY_FILE = "report.html", "plotly.min.js"
STUDY_TABLE_FILE, STUDY_PICTURE_FILE = "study.md", "study.webp"


def write_report(folder: Path) -> Path:
    """Write report.html into the folder of a sweep; once the sweep has ended, study.md and study.webp, too.

    The page appears whole, so it may be read at any time.

    Returns:
        Its file.

    Raises:
        FileNotFoundError: no sweep lies in ``folder``.
    """
    sweep, trials = read_sweep(folder)
    best = read_record(folder / BEST_FILE, BestRecord) if (folder / BEST_FILE).is_file() else None
    content = page_content(sweep, trials, best=best, best_file=_shown(folder / BEST_FILE), now=datetime.now(UTC))
    _place_plotly(folder)
    report = folder / REPORT_FILE
    _write_whole(report, _render(content))
    if sweep.ended and studied(sweep, configurations(trials)):
        _write_whole(folder / STUDY_TABLE_FILE, study_table(folder))
        study_picture(folder, folder / STUDY_PICTURE_FILE)
    return report


def page_assets() -> Path:
    """Folder of templates, style and script of pages about sweeps."""
    return Path(str(files("ladd_ray"))) / "assets" / "sweeps"


def _render(content: dict[str, object]) -> str:
    pages = Environment(
        loader=FileSystemLoader(page_assets()), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return pages.get_template("report.html").render(content)


def _place_plotly(folder: Path) -> None:
    """The script that draws the charts, beside the report, so that they need no network."""
    ours = Path(str(files("plotly"))) / "package_data" / PLOTLY_FILE
    placed = folder / PLOTLY_FILE
    if not placed.is_file() or placed.stat().st_size != ours.stat().st_size:
        shutil.copyfile(ours, placed)


def _shown(path: Path) -> str:
    """As a person in the working directory would write it."""
    relative = os.path.relpath(path)
    return str(path.resolve()) if relative.startswith("..") else relative


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
