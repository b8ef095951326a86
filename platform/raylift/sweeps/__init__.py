"""Sweeps as data: search spaces, proposals, stop rules, records and results. Does not import Ray."""
