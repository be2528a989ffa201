"""Runs many distillations of one recipe and finds the best settings."""
