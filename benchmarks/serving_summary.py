"""What the serving benchmark found, in numbers and in tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final

from benchmarks.serving_clients import Crowd

Loads = dict[str, list[Crowd]]
"""By application, one a round; the rounds of all were taken in turns."""
Lone = dict[str, list[dict[str, float]]]
"""By size and steps, seconds of one lone request: ours and single over HTTP, stock called without it."""

TARGETS: Final = {"images/s, ours / single": 2.5, "images/s, ours / batched": 1.3}
"""At least."""
LIMITS: Final = {
    "p95, ours / single": 1.0,
    "p95, ours / batched": 1.0,
    "lone, ours / stock": 1.1,
    "lone, ours / single": 1.1,
}
"""At most."""


def summary(loads: Loads, lone: Lone) -> dict[str, Any]:
    """Medians over rounds, and medians and ranges of the ratios within rounds, against the targets."""
    ratios = {
        **{f"images/s, ours / {name}": _speedups(loads, name) for name in ("single", "batched")},
        **{f"p95, ours / {name}": _slownesses(loads, name) for name in ("single", "batched")},
        **{
            f"lone, ours / {name}, {kind}": [times["ours"] / times[name] for times in found]
            for name in ("single", "stock")
            for kind, found in lone.items()
        },
    }
    return {
        "load": {name: _seen(crowds) for name, crowds in loads.items()},
        "lone_ms": {
            kind: {name: 1000 * median(times[name] for times in found) for name in found[0]}
            for kind, found in lone.items()
        },
        "ratios": {name: {**_spread(values), "met": _met(name, median(values))} for name, values in ratios.items()},
    }


def _speedups(loads: Loads, name: str) -> list[float]:
    return [ours.images_per_s / its.images_per_s for ours, its in zip(loads["ours"], loads[name], strict=True)]


def _slownesses(loads: Loads, name: str) -> list[float]:
    return [ours.percentile(95) / its.percentile(95) for ours, its in zip(loads["ours"], loads[name], strict=True)]


def _seen(crowds: Sequence[Crowd]) -> dict[str, float]:
    return {
        "images_per_s": median(seen.images_per_s for seen in crowds),
        "p50_s": median(seen.percentile(50) for seen in crowds),
        "p95_s": median(seen.percentile(95) for seen in crowds),
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": median(values), "least": min(values), "most": max(values)}


def _met(name: str, value: float) -> bool | None:
    """Whether a ratio is as it should be; None where nothing was promised."""
    if name in TARGETS:
        return value >= TARGETS[name]
    limit = next((limit for start, limit in LIMITS.items() if name.startswith(start)), None)
    return None if limit is None else value <= limit


def table(found: Mapping[str, Any]) -> str:
    """Markdown."""
    lines = ["| served by | images/s | p50 s | p95 s |", "| --- | ---: | ---: | ---: |"]
    lines += [
        f"| {name} | {seen['images_per_s']:.1f} | {seen['p50_s']:.2f} | {seen['p95_s']:.2f} |"
        for name, seen in found["load"].items()
    ]
    lines += ["", "| one lone request, ms | ours | single | stock, without HTTP |", "| --- | ---: | ---: | ---: |"]
    lines += [
        f"| {kind} | {times['ours']:.1f} | {times['single']:.1f} | {times['stock']:.1f} |"
        for kind, times in found["lone_ms"].items()
    ]
    lines += ["", "| ratio within rounds | median | range | as promised |", "| --- | ---: | ---: | --- |"]
    lines += [
        f"| {name} | {ratio['median']:.2f} | {ratio['least']:.2f} to {ratio['most']:.2f} | {_verdict(ratio['met'])} |"
        for name, ratio in found["ratios"].items()
    ]
    return "\n".join(lines)


def _verdict(met: bool | None) -> str:
    return "" if met is None else "yes" if met else "no"


def overload_table(found: Mapping[str, Any]) -> str:
    """Markdown."""
    lines = ["| overload | |", "| --- | ---: |"]
    return "\n".join(lines + [f"| {name} | {_cell(value)} |" for name, value in found.items()])


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
