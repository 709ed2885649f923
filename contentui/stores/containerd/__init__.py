"""A containerd's content behind its socket, or that of our own service, as a store."""
