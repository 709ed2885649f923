"""What a content store is: values and contracts, without I/O."""
