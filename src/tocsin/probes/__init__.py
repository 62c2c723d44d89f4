"""Is it up? One file per kind of target, and this table."""
