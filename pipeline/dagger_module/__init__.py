"""The Dagger object: arguments in, a request out, nothing else."""
