"""Programs that run inside a step: scan."""
