"""Trains ways to distil side by side, on equal time, and scores them together."""
