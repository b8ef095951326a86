"""Sources of shapes and images: one file per data set layout.

Nothing is imported here: reading a prepared data set, as every worker does, must not load mesh readers.
"""
