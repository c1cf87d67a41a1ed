"""The Dagger engine: a step as a container of Dagger."""
