"""Who refers to what: documents, labels, image names and leases."""
