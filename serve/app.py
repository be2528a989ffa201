"""What Ray Serve runs.

    serve run serve.app:build model=runs/stickers/export
    serve run serve/config.yaml

Without a model it serves the embedded student. The API is OpenAI's, at http://127.0.0.1:8000/v1; its
documentation lies at /docs.
"""

# No `from __future__ import annotations` here: Ray Serve would not see the type of build's argument, and pass a dict.

from typing import Any

from ray import serve as ray_serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig

from .deployment import GatewayReplica, ModelReplica
from .guards import key_digests
from .page import check_gradio
from .settings import EndpointSettings, ModelSettings
from .sources import checked

MOST_AT_ONCE = 1024
"""Requests that Ray Serve hands to one replica: more than the gateway and the admission of work let through."""
GATEWAY_CPUS = 0.5
"""It packs files in threads, and waits for models otherwise."""
UPSCALE_DELAY_S = 10.0
"""Of too many requests, until a replica is added: models take long to load, and bursts are short."""
DOWNSCALE_DELAY_S = 300.0
"""Of too few, until one is taken away."""


def build(settings: EndpointSettings) -> Application:
    """The whole application.

    Raises:
        ValueError: keys are required and missing, or a model is not there.
        ConnectionError: the registry of a model does not answer.
    """
    digests = key_digests(settings.api_keys_file, required=settings.keys_required)
    settings = checked(settings)
    if settings.page:
        check_gradio()
    models = {model.name: _model(model, settings) for model in settings.all_models}
    deployment = ray_serve.deployment(
        name="gateway",
        num_replicas=settings.gateways,
        max_ongoing_requests=MOST_AT_ONCE,
        ray_actor_options={"num_cpus": GATEWAY_CPUS},
    )
    return deployment(GatewayReplica).bind(models, limits=settings.limits, key_digests=digests, page=settings.page)


def _model(model: ModelSettings, settings: EndpointSettings) -> Application:
    deployment = ray_serve.deployment(
        name=f"model-{model.name}",
        **_scale(model, settings),
        max_ongoing_requests=MOST_AT_ONCE,
        ray_actor_options={"num_cpus": model.num_cpus, "num_gpus": model.num_gpus},
        health_check_period_s=5,
        health_check_timeout_s=30,
    )
    return deployment(ModelReplica).bind(model, settings.batch, settings.registry)


def _scale(model: ModelSettings, settings: EndpointSettings) -> dict[str, Any]:
    """A fixed number of replicas, or the limits of a changing one."""
    if model.max_replicas in (None, model.num_replicas):
        return {"num_replicas": model.num_replicas}
    scaling = AutoscalingConfig(
        min_replicas=model.num_replicas,
        max_replicas=model.max_replicas,
        target_ongoing_requests=model.target_requests or settings.batch.max_rows,
        upscale_delay_s=UPSCALE_DELAY_S,
        downscale_delay_s=DOWNSCALE_DELAY_S,
    )
    return {"autoscaling_config": scaling}
