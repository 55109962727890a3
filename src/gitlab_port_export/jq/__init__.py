"""Evaluates the jq expressions of a mapping: in worker processes, or a column of rows at a time without jq."""
