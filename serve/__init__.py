"""HTTP in front of a distilled student."""
