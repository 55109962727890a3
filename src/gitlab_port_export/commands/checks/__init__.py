"""What `check` looks at, one file an area; the order stands in commands/check.py."""
