"""One report value, one renderer a file."""
