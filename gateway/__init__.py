"""Serial ports to Modbus TCP, MQTT and raw TCP, over links that cannot die unseen.

    daemon -> site -> control, config, supervise -> links, devices -> ports -> host, store -> settings
           -> registers, values -> buffer -> contracts -> flow, scope -> status, errors
                                                                  wire/ and policy/ stand beside, pure

Imports go down only (tests/test_architecture.py). Begin with contracts.py, then site.py, then one kind:
links/tcp.py.
"""

__version__ = "0.1.0"
