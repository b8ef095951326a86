"""One equation a function: per element, no weights, no distributed, no logging."""
