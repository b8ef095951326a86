"""Runs, sweeps and tables on Ray; besides the data feed, the only code that uses Ray."""
