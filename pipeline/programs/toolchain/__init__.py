"""Programs that run inside a step: toolchain."""
