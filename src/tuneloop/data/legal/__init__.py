"""Structured legal records: what they hold, what makes them sound, and the conversations they make."""
