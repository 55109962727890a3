"""Port: what it holds, what we write there, and the integration object."""
