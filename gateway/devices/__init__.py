"""Modbus devices: which registers they have (model), in which reads these are fetched (plan), and when
(poller).
"""
