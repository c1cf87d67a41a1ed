"""From what a person asks to a release: the walk that both engines share."""
