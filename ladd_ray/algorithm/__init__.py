"""The paper and its samplers in plain torch: no files, no ranks, no model library."""
