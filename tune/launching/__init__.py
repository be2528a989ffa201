"""The page that starts, follows and stops sweeps on a running cluster."""
