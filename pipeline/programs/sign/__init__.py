"""Programs that run inside a step: sign."""
