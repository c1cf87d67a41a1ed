"""A whole release as a value: which stage feeds which, how it is compared and carried away."""
