"""Stages: pure functions from values to trees. No I/O, no await, no engine."""
