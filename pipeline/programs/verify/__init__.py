"""Programs that run inside a step: verify."""
