"""The values of a release. Nothing here does I/O."""
