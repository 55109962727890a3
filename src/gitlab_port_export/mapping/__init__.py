"""Port's mapping (port-app-config): its values, and how they are read and checked."""
