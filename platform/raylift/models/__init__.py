"""Models, one folder each; they must not import each other. README.md describes the contents of a folder."""
