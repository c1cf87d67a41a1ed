"""Images: where the root file systems that steps run in come from."""
