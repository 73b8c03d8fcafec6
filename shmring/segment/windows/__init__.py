"""Segments on Windows: named file mappings."""
