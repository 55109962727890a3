"""Live updates without a server: GitLab's hooks, what they bring, and what of it can go straight into Port."""
