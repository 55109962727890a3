"""What tests share: stand-ins put to use, runs of the command, and an independent model of what a run makes."""
