"""Programs that run inside a step: build."""
