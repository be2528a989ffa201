"""The composition root: the only place that joins algorithm, models, data, engine and tracking into a run."""
