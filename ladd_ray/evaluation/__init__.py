"""Scores and pictures of what a student draws: distance, diversity, grids, training curves."""
