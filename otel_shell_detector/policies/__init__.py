"""Policies from files: matchers and rules as people write them, looked at again while the service runs."""
