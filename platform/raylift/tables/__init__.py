"""Tables of published results: what a paper claims, the recipes of its rows, and what today's runs say of it."""
