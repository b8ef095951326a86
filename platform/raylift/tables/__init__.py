"""Tables of published results: a paper's figures and claims, the recipes of its rows, and our results."""
