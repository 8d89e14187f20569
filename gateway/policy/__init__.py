"""Decisions and nothing else.

Plain numbers in, plain numbers out, time is an argument. No clock, no loop, no I/O.
"""
