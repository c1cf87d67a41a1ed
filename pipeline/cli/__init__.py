"""The command line: parser, verbs, progress. It prints, and nothing below it does."""
