"""A whole release as a value: which stage feeds which, what is delivered, compared and carried away."""
