"""One file a command: what it does between the command line and the rest."""
