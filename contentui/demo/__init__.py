"""A temporary store full of life: ingests by other processes, commits, trouble of every kind."""
