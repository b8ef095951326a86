"""Category templates and their deformation, fitted to a data set of shapes (see README.md here)."""
