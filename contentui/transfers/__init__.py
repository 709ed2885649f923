"""Images on their way: between registries and stores, between archives and stores."""
