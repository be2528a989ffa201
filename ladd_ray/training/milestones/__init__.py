"""Scores a student while it trains."""
