"""Registries: references, hosts and mirrors, credentials, requests that can be resumed."""
