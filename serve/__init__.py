"""OpenAI's Images API over distilled students: step-level continuous batching on Ray Serve.

serve run serve.app:build model=runs/stickers/export

app.py              what Ray Serve runs: the builder and its settings
deployment.py       the two deployments: a model's replica, and the gateway in front of all models
sources.py          where a model comes from: a folder, the hub, MLflow's registry
loading.py          a model, loaded, compiled and warmed up
succession.py       how the next version of a model takes over
remote.py           a model's replicas as the gateway sees them: orders outlive them
gateway.py          the HTTP routes, plain FastAPI over anything that can draw
schemas.py          requests and responses, strictly checked
orders.py           a checked request and a model's facts make an order
sizes.py            which sizes a model draws
uploads.py          pictures and masks from strangers
stripping.py        their files without all that pixels do not need
answers.py          drawn pictures as files, JSON and events
errors.py           every refusal, as the official clients read it
routes.py           which address does what
documentation.py    what the OpenAPI document says beyond that
guards.py           keys, and how many, how large and how slow requests may be
proxy.py            what the cluster's proxies do with requests first
metrics.py          Prometheus
page/               the web page at /, in Gradio
"""
