"""Segments on Linux and other POSIX systems."""
