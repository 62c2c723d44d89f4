"""What runs on each machine: looks at its sensors, keeps ticks on disk, and sends them to an aggregator.

Its process is to be small: nothing of this is loaded with a library that is not needed here
(``tests/collector/test_light.py`` holds the list).
"""
