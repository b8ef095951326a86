"""Models: a folder each, none of which imports another. README.md says what a folder holds."""
