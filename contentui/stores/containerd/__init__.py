"""A client of containerd's services, or of our own server, as a store."""
