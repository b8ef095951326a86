"""Where shapes and images come from: one file a data set layout.

Nothing is imported here: whoever only reads a prepared data set (every worker does) need not load mesh readers.
"""
