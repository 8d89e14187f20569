"""What everybody shall see, also when all is well, as a fixture: `pytest_plugins = ["show_kit"]`."""

from collections.abc import Callable

import pytest


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Prints past the capture."""

    def past_the_capture(text: str) -> None:
        with capsys.disabled():
            print("\n" + text)

    return past_the_capture
