"""Model families: strangers to one another."""
