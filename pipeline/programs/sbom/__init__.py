"""Programs that run inside a step: sbom."""
