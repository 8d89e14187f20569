"""One file per mode: `modbus_rtu.py` is mode = "modbus-rtu". Files that begin with _ are shared parts."""
