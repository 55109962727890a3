"""What the stand-in GitLab serves of each kind: one module a kind, with its rows and its `ROUTES`."""
