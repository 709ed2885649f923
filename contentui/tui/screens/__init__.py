"""What fills the terminal: the dashboard and everything that opens over it."""
