"""Losses, one function per equation: per element, without weights, collectives or logging."""
