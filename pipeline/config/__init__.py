"""Every loader of a file that people write, with its errors."""
