"""The composition root: configuration, pipeline, health, command line."""
