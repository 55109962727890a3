"""Live updates without a server: GitLab's hooks, and the fields that their payloads can keep current in Port."""
