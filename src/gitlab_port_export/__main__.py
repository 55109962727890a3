"""`python -m gitlab_port_export`."""

from gitlab_port_export.cli import main

main()
