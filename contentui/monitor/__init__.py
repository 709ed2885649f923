"""A store as a stream of frozen views."""
