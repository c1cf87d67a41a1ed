"""Engines carry a graph out. They know containers and nothing of packages."""
