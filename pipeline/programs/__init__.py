"""Programs that run inside a step: the standard library only, JSON in, files out."""
