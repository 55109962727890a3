"""Incremental runs: what the last run left, what changed since, and which resources take part."""
