"""containerd's gRPC services on the wire: messages, names, times."""
