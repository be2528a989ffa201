"""Search spaces and sweeps over ladd_ray runs."""
