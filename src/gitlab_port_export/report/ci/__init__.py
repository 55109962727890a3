"""What each CI system understands, one file a system: texts and lines, written by nobody here."""
