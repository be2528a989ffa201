"""Command lines: each translates its arguments into one call of ladd_ray."""
