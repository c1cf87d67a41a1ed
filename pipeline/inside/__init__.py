"""Programs that run inside steps: standard library only, Python 3.9 or newer, JSON in, files out."""
