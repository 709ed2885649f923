"""OCI and Docker documents, media types, platforms and references."""
