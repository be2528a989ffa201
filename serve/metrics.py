"""Prometheus: where the time of every picture goes, by task, size and steps.

Ray exports it with its own metrics, under names that begin with ray_ladd_, at an address that the gateway logs.
"""

from __future__ import annotations

from typing import Any, Final

import ray
from ray.serve import metrics

from ladd_ray.inference.commission import Preparation, Timings
from ladd_ray.inference.studio import Studio
from ladd_ray.inference.walk import Order

_SECONDS: Final = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0]
_ROWS: Final = [0.5, 1.5, 2.5, 4.5, 8.5, 16.5, 32.5, 64.5]
"""Ray exports what lies between two boundaries as their middle: so sums of few rows are exact."""
_LABELS: Final[Any] = ("task", "size", "steps")
"""Any, since Ray declares tuples of one name only."""
_MOST_SIZES: Final = 32
"""Sizes with labels of their own: clients choose them, and every label costs memory for good."""


def prometheus_address() -> str:
    """Where Prometheus finds what this machine's replicas tell."""
    node_id = ray.get_runtime_context().get_node_id()
    node = next(node for node in ray.nodes() if node["NodeID"] == node_id)
    return f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"


class ReplicaMetrics:
    """What a model's replica tells of every picture."""

    def __init__(self) -> None:
        self._phases = {
            phase: metrics.Histogram(
                f"ladd_{phase}_seconds", description=description, boundaries=_SECONDS, tag_keys=_LABELS
            )
            for phase, description in {
                "queue": "Waiting for preparation and for the first step, once for each picture.",
                "text_encode": "Encoding the prompt, once for each request.",
                "given_encode": "Encoding the given picture and drawing the noise, once for each request.",
                "step": "One denoise step of the whole batch, once for each picture in it.",
                "decode": "Latents to pixels of all that are decoded together, once for each picture.",
            }.items()
        }
        self._rows = metrics.Histogram(
            "ladd_batch_rows",
            description="Pictures that share a step, once for each of them.",
            boundaries=_ROWS,
            tag_keys=_LABELS,
        )
        self._prompts = metrics.Counter(
            "ladd_prompts_total", description="Prompts of requests, by whether they were cached.", tag_keys=("cached",)
        )
        self._refusals = metrics.Counter(
            "ladd_refusals_total", description="Orders that were not drawn.", tag_keys=("code",)
        )
        self._backlog = metrics.Gauge(
            "ladd_backlog_megapixel_steps", description="Work that was let in and is not done."
        )
        self._sizes: set[str] = set()

    def prepared(self, order: Order, preparation: Preparation) -> None:
        """An order took its first step."""
        labels = self._labels(order)
        self._phases["text_encode"].observe(preparation.prompt_s, labels)
        self._phases["given_encode"].observe(preparation.given_s, labels)
        self._prompts.inc(1, {"cached": str(preparation.prompt_cached).lower()})

    def drawn(self, order: Order, timings: Timings) -> None:
        """A picture is done."""
        labels = self._labels(order)
        self._phases["queue"].observe(timings.queue_s, labels)
        self._phases["decode"].observe(timings.decode_s, labels)
        for seconds, rows in zip(timings.steps_s, timings.rows, strict=True):
            self._phases["step"].observe(seconds, labels)
            self._rows.observe(rows, labels)

    def refused(self, code: str | None) -> None:
        """An order was not drawn."""
        self._refusals.inc(1, {"code": code or "other"})

    def watched(self, studio: Studio) -> None:
        """How much there is to do."""
        self._backlog.set(studio.admission.backlog / 1e6)

    def _labels(self, order: Order) -> dict[str, str]:
        return {"task": order.task, "size": self._size(order), "steps": str(order.num_inference_steps)}

    def _size(self, order: Order) -> str:
        size = f"{order.width}x{order.height}"
        if len(self._sizes) < _MOST_SIZES:
            self._sizes.add(size)
        return size if size in self._sizes else "other"


class GatewayMetrics:
    """What the HTTP side tells."""

    def __init__(self) -> None:
        self._files = metrics.Histogram(
            "ladd_file_encode_seconds",
            description="Pixels to the bytes of a file.",
            boundaries=_SECONDS,
            tag_keys=("format",),
        )

    def packed(self, file_format: str, seconds: float) -> None:
        """A file is done."""
        self._files.observe(seconds, {"format": file_format})
