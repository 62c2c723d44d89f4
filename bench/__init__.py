"""What Tocsin costs and how much it can do, measured from outside. ``make bench``; read docs/performance.md."""
