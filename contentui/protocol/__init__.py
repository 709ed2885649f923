"""What containerd's gRPC services look like on the wire: messages, names, codes and times."""
