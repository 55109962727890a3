"""The stages of a run, one file a stage; read `line.py` first, which calls them in order."""
