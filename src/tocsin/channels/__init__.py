"""Who must know? One file per way to tell someone, and this table."""
