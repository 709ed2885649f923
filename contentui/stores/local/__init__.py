"""A content store in a directory, with the layout of containerd."""
