"""What is true. Pure: standard library and NumPy only; no I/O, no clock, no await."""
