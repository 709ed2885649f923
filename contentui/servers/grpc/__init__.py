"""Our gRPC service, for any store: containerd's content service and what clients need beside it."""
