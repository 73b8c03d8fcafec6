"""Waiting in event loops, for asyncio and for whatever runs on it."""
