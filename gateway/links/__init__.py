"""One file per kind: `modbus_server.py` is kind = "modbus-server". Files that begin with _ are parts of them:

modbus_server   _access, _answering, _datagrams, _modbus_framings, _voice
modbus_client   _asking, _push, _pushing, _remote
tcp             _boxes, _delivery, _dialler, _frames, _idle, _meanwhile, _senders, _to_line, _udp,
                _tapping, _seats, _telnet, _rfc2217
mqtt            _uplink, _commands, _publisher, _outbox, _reading, _topics, _terms;
                with paho: _paho, _mqtt5, _no_proxies
several kinds   _failover, _hello, _listening, _tls, _who_dials
"""
