"""Programs that run inside a step: source."""
