"""Settings: their declarations, the names and sources of what is given from outside, and the checks."""
