"""Thin doors to libraries: outbound HTTP with its guard, expressions, threads, clock, logging, metrics."""
