"""samples.png, a table of pictures by sampler and prompt, and curves.png, how a training went.

Shapes: n pictures, h w height and width in pixels, last axis red, green, blue.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

PAPER, INK, SOFT_INK = (244, 244, 241), (32, 34, 38), (110, 114, 120)
MIN_CELL = 160
"""Pictures smaller than this are enlarged by a whole factor."""
GAP, MARGIN, LABEL_WIDTH, LINE = 10, 24, 150, 17
FONT_SIZE = 13


def sample_grid(rows: Mapping[str, NDArray[np.uint8]], captions: Sequence[str], path: Path) -> None:
    """Write a PNG with one row for each sampler and one column for each prompt.

    Args:
        rows: Name of a sampler to its pictures (n, h, w, 3) uint8, in the order of the captions.
        captions: The n prompts.
        path: The file to write.

    Raises:
        ValueError: there is nothing to show, or rows differ in size or do not fit the captions.
    """
    _check_rows(rows, len(captions))
    _, height, width, _ = next(iter(rows.values())).shape
    scale = max(1, -(-MIN_CELL // width))
    grid = _Grid(width * scale, height * scale, header=_header_height(captions, width * scale))
    sheet = Image.new("RGB", grid.sheet_size(len(captions), len(rows)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, caption in enumerate(captions):
        _write_up_from(draw, grid.caption_foot(column), text=_wrap(caption, width * scale), fill=SOFT_INK)
    for row, (label, pictures) in enumerate(rows.items()):
        _write_beside(draw, grid.label_middle(row), text=_wrap(label, LABEL_WIDTH))
        for column, picture in enumerate(pictures):
            enlarged = Image.fromarray(picture).resize((grid.width, grid.height), Image.Resampling.LANCZOS)
            sheet.paste(enlarged, grid.corner(column, row))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


@dataclass(frozen=True)
class _Grid:
    """Places on the sheet, in pixels."""

    width: int
    height: int
    header: int

    def corner(self, column: int, row: int) -> tuple[int, int]:
        left = MARGIN + LABEL_WIDTH + GAP + column * (self.width + GAP)
        return left, MARGIN + self.header + row * (self.height + GAP)

    def sheet_size(self, columns: int, rows: int) -> tuple[int, int]:
        right, bottom = self.corner(columns, rows)
        return right - GAP + MARGIN, bottom - GAP + MARGIN

    def caption_foot(self, column: int) -> tuple[int, int]:
        left, top = self.corner(column, 0)
        return left, top - 8

    def label_middle(self, row: int) -> tuple[int, int]:
        return MARGIN, self.corner(0, row)[1] + self.height // 2


def _check_rows(rows: Mapping[str, NDArray[np.uint8]], num_captions: int) -> None:
    if not rows or not num_captions:
        raise ValueError("there is nothing to show: give at least one row and one caption")
    shapes = {name: pictures.shape for name, pictures in rows.items()}
    if len(set(shapes.values())) > 1 or {shape[0] for shape in shapes.values()} != {num_captions}:
        raise ValueError(f"rows {shapes} must all be of one size, with one picture for each of {num_captions} captions")


def font(*, bold: bool, size: int = FONT_SIZE) -> ImageFont.FreeTypeFont:
    """The font of all pictures, in pixels."""
    # Matplotlib brings the font along, so that the picture is the same on every machine.
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


def _wrap(text: str, width: int) -> str:
    """Lines that fit ``width`` pixels; a letter is about .58 of the font's size wide."""
    return "\n".join(textwrap.wrap(text, max(8, int(width / (0.58 * FONT_SIZE)))))


def _header_height(captions: Sequence[str], width: int) -> int:
    return LINE * max(_wrap(caption, width).count("\n") + 1 for caption in captions) + 8


def _write_up_from(draw: ImageDraw.ImageDraw, foot: tuple[int, int], *, text: str, fill: tuple[int, int, int]) -> None:
    draw.multiline_text(foot, text, fill=fill, font=font(bold=False), anchor="ld", spacing=3)


def _write_beside(draw: ImageDraw.ImageDraw, middle: tuple[int, int], *, text: str) -> None:
    draw.multiline_text(middle, text, fill=INK, font=font(bold=True), anchor="lm", spacing=3)


@dataclass(frozen=True)
class Panel:
    """One set of axes of curves.png."""

    title: str
    series: Mapping[str, str]
    """Metric to its name in the legend."""
    logarithmic: bool = False
    reference: float | None = None
    """A level worth a dotted line: where neither side is ahead."""


PANELS: Sequence[Panel] = (
    Panel("Student loss", {"student/loss": "student"}),
    Panel("Discriminator loss", {"discriminator/loss": "discriminator"}),
    Panel("Logits", {"discriminator/real_logits": "real", "discriminator/fake_logits": "fake"}, reference=0.0),
    Panel(
        "Share of logits",
        {"discriminator/accuracy": "right side of 0", "discriminator/dead_hinge": "beyond the margin"},
        reference=0.5,
    ),
    Panel(
        "Gradient norm",
        {"student/gradient_norm": "student", "discriminator/gradient_norm": "discriminator"},
        logarithmic=True,
    ),
    Panel("Flow matching loss", {"flow/generate": "generate", "flow/edit": "edit", "flow/inpaint": "inpaint"}),
    Panel("Loss of held-out rows", {"validation/loss": "moving average"}),
    Panel("Gradient norm", {"flow/gradient_norm": "denoiser"}, logarithmic=True),
    Panel("Images per second", {"throughput/images_per_second": "all workers"}),
)
COLOURS = ("#2f6db3", "#d9822b", "#3d9970")
COLUMNS = 3
SMOOTH_SHARE = 0.05
"""Width of the running mean, as a share of the points."""


def training_curves(history: Sequence[Mapping[str, float]], path: Path, *, title: str = "") -> None:
    """Write a PNG of losses, logits, accuracy, gradient norms and speed against the step.

    Args:
        history: One mapping for each logged step, with ``step`` and metrics; see ``tracking.LocalHistory``.
        path: The file to write.
        title: Over all panels.

    Raises:
        ValueError: the history holds none of the metrics.
    """
    panels = [panel for panel in PANELS if any(key in line for key in panel.series for line in history)]
    if not panels:
        raise ValueError("the history holds no metric of a training: was a step logged?")
    rows = -(-len(panels) // COLUMNS)
    figure = Figure(figsize=(4.2 * COLUMNS, 2.9 * rows + 0.4), layout="constrained", facecolor=_hex(PAPER))
    axes = figure.subplots(rows, COLUMNS, squeeze=False).flat
    for panel in panels:
        _draw_panel(next(axes), panel, history=history)
    for unused in axes:
        unused.set_axis_off()
    figure.suptitle(title, x=0.01, ha="left", weight="bold", color=_hex(INK))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _draw_panel(axes: Axes, panel: Panel, *, history: Sequence[Mapping[str, float]]) -> None:
    for (key, name), colour in zip(panel.series.items(), COLOURS, strict=False):
        points = [(line["step"], line[key]) for line in history if key in line]
        if points:
            _draw_series(axes, np.array(points), name=name, colour=colour)
    if panel.reference is not None:
        axes.axhline(panel.reference, color=_hex(SOFT_INK), linewidth=0.8, linestyle=":", zorder=0)
    if panel.logarithmic:
        axes.set_yscale("log")
    if len(panel.series) > 1:
        axes.legend(frameon=False, fontsize=8)
    _style(axes, panel.title)


def _draw_series(axes: Axes, points: NDArray[np.float64], *, name: str, colour: str) -> None:
    steps, values = points.T
    window = max(1, round(SMOOTH_SHARE * len(values)))
    axes.plot(steps, values, color=colour, alpha=0.25 if window > 1 else 0, linewidth=0.8)
    axes.plot(steps, _running_mean(values, window), color=colour, linewidth=1.6, label=name)


def _running_mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Mean over ``window`` points around each; narrower at the ends, where the points run out."""
    weights = np.ones(window)
    total = np.convolve(values, weights, mode="same")
    return np.asarray(total / np.convolve(np.ones_like(values), weights, mode="same"))


def _style(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=_hex(INK))
    axes.set_facecolor("white")
    axes.grid(color="#e6e6e3", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#c9c9c5")
    axes.tick_params(colors=_hex(SOFT_INK), labelsize=8)
    axes.set_xlabel("step", fontsize=8, color=_hex(SOFT_INK))


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
