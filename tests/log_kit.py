"""What our own loggers said: on a busy machine asyncio adds that a callback was slow."""

import logging

import pytest


def ours(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name.partition(".")[0] == "gateway"]
