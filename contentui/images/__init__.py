"""OCI documents as typed values: what a blob is, and who needs it."""
