"""Stand-ins for GitLab and Port over real HTTP, a sample world, and the demo command."""
