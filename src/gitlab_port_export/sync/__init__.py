"""The stages of a run, one file a stage; `line.py` shows their order."""
