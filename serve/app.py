"""What Ray Serve runs.

    serve run serve.app:build model=runs/stickers/export
    serve run serve/config.yaml

Without a model it serves the embedded one of many steps. The API is OpenAI's, at http://127.0.0.1:8000/v1; its
documentation lies at /docs.
"""

# No `from __future__ import annotations` here: Ray Serve would not see the type of build's argument, and pass a dict.

from ray import serve as ray_serve
from ray.serve import Application

from .deployment import GatewayReplica, ModelReplica
from .guards import key_digests
from .settings import EndpointSettings, ModelSettings

MOST_AT_ONCE = 1024
"""Requests that Ray Serve hands to one replica: more than the gateway and the admission of work let through."""


def build(settings: EndpointSettings) -> Application:
    """The whole application."""
    models = {model.name: _model(model, settings) for model in settings.all_models}
    deployment = ray_serve.deployment(name="gateway", num_replicas=settings.gateways, max_ongoing_requests=MOST_AT_ONCE)
    digests = key_digests(settings.api_keys_file)
    return deployment(GatewayReplica).bind(models, limits=settings.limits, key_digests=digests)


def _model(model: ModelSettings, settings: EndpointSettings) -> Application:
    deployment = ray_serve.deployment(
        name=f"model-{model.name}",
        num_replicas=model.num_replicas,
        max_ongoing_requests=MOST_AT_ONCE,
        ray_actor_options={"num_cpus": model.num_cpus, "num_gpus": model.num_gpus},
        health_check_period_s=5,
        health_check_timeout_s=30,
    )
    return deployment(ModelReplica).bind(model, settings.batch)
