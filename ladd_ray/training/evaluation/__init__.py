"""Evaluation as a job: plan, sets of pictures, scores, results."""
