"""Bring a Port software catalog in step with GitLab, in one run with an exit code that tells the truth."""

__version__ = "0.1.0"
