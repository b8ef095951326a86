"""Sweeps as data: spaces over recipe values, who proposes, which trials stop, and what came of them. Knows no Ray."""
