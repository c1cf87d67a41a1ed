"""Programs that run inside a step: package."""
