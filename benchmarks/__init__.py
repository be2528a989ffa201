"""Measurements on real hardware; see README.md in this folder."""
