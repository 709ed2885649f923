"""A temporary demo store with live and failing ingests of other processes."""
