"""Everything that destroys or changes: plan, run, journal."""
