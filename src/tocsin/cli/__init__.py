"""tocsin …: the command line."""
