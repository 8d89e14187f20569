"""One good request of every function with the answer that a device would give to it."""

PAIRS = {
    name: (bytes.fromhex(request), bytes.fromhex(answer))
    for name, (request, answer) in {
        "read 3 coils": ("01 0013 0003", "01 01 05"),
        "read 9 coils": ("01 0013 0009", "01 02 cd 01"),
        "read 2000 coils": ("01 0000 07d0", "01 fa" + " 55" * 250),
        "read 1 input": ("02 00c4 0001", "02 01 01"),
        "read 1 register": ("03 ffff 0001", "03 02 022b"),
        "read 2 registers": ("03 006b 0002", "03 04 022b 0064"),
        "read 125 registers": ("04 0000 007d", "04 fa" + " 0102" * 125),
        "write a coil": ("05 00ac ff00", "05 00ac ff00"),
        "write a register": ("06 0001 0003", "06 0001 0003"),
        "exception status": ("07", "07 6d"),
        "echo": ("08 0000 a537", "08 0000 a537"),
        "a long echo": ("08 0000 01 02 03 04 05", "08 0000 01 02 03 04 05"),
        "event counter": ("0b", "0b ffff 0108"),
        "event log": ("0c", "0c 08 0000 0108 0121 2000"),
        "write 10 coils": ("0f 0013 000a 02 cd01", "0f 0013 000a"),
        "write 1 coil of many": ("0f 0013 0001 01 01", "0f 0013 0001"),
        "write 1968 coils": ("0f 0000 07b0 f6" + " 55" * 246, "0f 0000 07b0"),
        "write 1 register of many": ("10 0001 0001 02 000a", "10 0001 0001"),
        "write 2 registers": ("10 0001 0002 04 000a 0102", "10 0001 0002"),
        "write 123 registers": ("10 0000 007b f6" + " 0102" * 123, "10 0000 007b"),
        "server id": ("11", "11 03 4d 31 ff"),
        "read a file": ("14 07 06 0004 0001 0002", "14 06 05 06 0dfe 0020"),
        "write a file": ("15 09 06 0004 0007 0001 06af", "15 09 06 0004 0007 0001 06af"),
        "mask a register": ("16 0004 00f2 0025", "16 0004 00f2 0025"),
        "read and write": ("17 0003 0006 000e 0003 06 00ff 00ff 00ff", "17 0c 00fe 0acd 0001 0003 000d 00ff"),
        "read and write 1": ("17 0003 0001 000e 0001 02 00ff", "17 02 00fe"),
        "read 125 and write 121": (
            "17 0000 007d 0000 0079 f2" + " 0102" * 121,
            "17 fa" + " 0102" * 125,
        ),
        "fifo": ("18 04de", "18 0006 0002 01b8 1284"),
        "empty fifo": ("18 04de", "18 0002 0000"),
        "identification": ("2b 0e 01 00", "2b 0e 01 01 00 00 02 00 03 41 42 43 01 01 44"),
        "no identification": ("2b 0e 04 80", "2b 0e 04 01 00 00 00"),
    }.items()
}

UNTOLD = frozenset((12, 17, 20, 24, 43))  # functions whose requests do not tell how long the answer will be
ECHOED = frozenset((8,))  # functions whose answers only their request can measure
