"""Tocsin: one self-hosted system that tells a team whether everything it runs is healthy."""

__version__ = "0.1.0"
