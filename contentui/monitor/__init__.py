"""A store as a stream of frozen snapshots."""
