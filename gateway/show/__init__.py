"""Records as text for people, for gatewayctl: `picture` everything, `closeup` one thing, `hexdump` a trace.

Pure, and imports nothing of the daemon, because gatewayctl must start fast.
"""
