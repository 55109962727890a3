"""Reading GitLab: client, inventory, plan, reads and one file a kind."""
