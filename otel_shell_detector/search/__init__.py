"""The scheduled search that this service replaces, computed exactly over captures."""
