"""OpenAI's Images API over distilled students: step-level continuous batching on Ray Serve.

serve run serve.app:build model=runs/stickers/export

app.py         what Ray Serve runs: the builder and its settings
deployment.py  the two deployments: a model's replica, and the gateway in front of all models
gateway.py     the HTTP routes, plain FastAPI over anything that can draw
schemas.py     requests and responses, strictly checked
orders.py      a checked request and a model's facts make an order
uploads.py     pictures and masks from strangers
answers.py     drawn pictures as files, JSON and events
errors.py      every refusal, as the official clients read it
guards.py      body sizes, keys, and headers that clients may not set
metrics.py     Prometheus
"""
