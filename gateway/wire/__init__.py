"""Bytes and nothing else.

Codecs and framings as pure functions and small objects. No clock, no loop, no I/O.
"""
