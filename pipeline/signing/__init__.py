"""Keys: where they are, and whether they are fit for a release."""
