"""The report of a run: values.py holds it, builder.py makes it, and each format is one renderer in one file."""
