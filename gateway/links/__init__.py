"""One file per kind: `modbus_server.py` is kind = "modbus-server".

Files that begin with _ are shared parts.
"""
