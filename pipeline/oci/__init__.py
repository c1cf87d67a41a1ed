"""Registries and images of the Open Container Initiative: what no tool on the machine does for us."""
