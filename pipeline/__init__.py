"""A release pipeline as code: a git tag becomes built, scanned, packaged and signed artifacts, with proof."""

__version__ = "0.1.0"
