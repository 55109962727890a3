"""Settings: names and sources of what is given from outside, and their joint checks."""
