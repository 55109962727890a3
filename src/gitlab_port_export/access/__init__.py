"""Changes who may do what in GitLab: reads, decides, writes once, reads back; `line.py` has the order."""
