"""The GPIO character device: our packing is the kernel's, and what cannot be had is told in plain words."""

import errno
import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import LineDown
from gateway.host import gpio

KERNEL = r"""
#include <linux/gpio.h>
#include <stdio.h>
#include <string.h>
int main(void) {
    struct gpio_v2_line_request request;
    struct gpio_v2_line_values values = {.bits = 1, .mask = 1};
    memset(&request, 0, sizeof request);
    request.offsets[0] = 17;
    strcpy(request.consumer, "gateway");
    request.config.flags = GPIO_V2_LINE_FLAG_OUTPUT | GPIO_V2_LINE_FLAG_ACTIVE_LOW;
    request.num_lines = 1;
    fwrite(&request, sizeof request, 1, stdout);
    request.fd = 0x12345678;
    fwrite(&request, sizeof request, 1, stdout);
    fwrite(&values, sizeof values, 1, stdout);
    printf("%x %x", (unsigned)GPIO_V2_GET_LINE_IOCTL, (unsigned)GPIO_V2_LINE_SET_VALUES_IOCTL);
    return 0;
}
"""


class Chip:
    """An ioctl, and what it was asked."""

    def __init__(self, error: int = 0) -> None:
        self.asked: list[tuple[int, bytes]] = []
        self._error = error

    def __call__(self, fd: int, request: int, data: bytes) -> bytes:
        self.asked.append((request, data))
        if self._error:
            raise OSError(self._error, os.strerror(self._error))
        return data[:-4] + struct.pack("=i", os.dup(fd))


@pytest.mark.needs("gcc")
def test_what_we_send_is_what_the_headers_of_the_kernel_say(tmp_path: Path) -> None:
    (tmp_path / "kernel.c").write_text(KERNEL)
    subprocess.run(["gcc", "-o", tmp_path / "kernel", tmp_path / "kernel.c"], check=True, timeout=60)
    said = subprocess.run([tmp_path / "kernel"], capture_output=True, check=True, timeout=30).stdout
    request = gpio.request(17, inverted=True)

    assert said[: len(request)] == request
    assert gpio.granted(said[len(request) : 2 * len(request)]) == 0x12345678
    assert said[2 * len(request) :] == gpio.values(True) + b"c250b407 c010b40f"


@given(offset=st.integers(0, 2**32 - 1), inverted=st.booleans(), fd=st.integers(-(2**31), 2**31 - 1))
def test_a_request_carries_its_line_and_brings_back_any_descriptor(
    offset: int, inverted: bool, fd: int
) -> None:
    request = gpio.request(offset, inverted)

    assert len(request) == 592
    assert struct.unpack_from("=64I", request) == (offset, *[0] * 63)
    assert struct.unpack_from("=Q", request, 288) == (0b1010 if inverted else 0b1000,)
    assert struct.unpack_from("=I", request, 560) == (1,)
    assert gpio.granted(request[:-4] + struct.pack("=i", fd)) == fd


@pytest.mark.parametrize("on", [True, False])
def test_only_our_line_of_the_request_is_set(on: bool) -> None:
    assert struct.unpack("=QQ", gpio.values(on)) == (on, 1)


def test_an_output_is_asked_for_set_and_closed(tmp_path: Path, descriptors: Callable[[], int]) -> None:
    (tmp_path / "gpiochip0").touch()
    chip, before = Chip(), descriptors()
    output = gpio.output("gpiochip0:17", False, chip, str(tmp_path))
    assert descriptors() == before + 1  # the line's, not the chip's
    assert chip.asked == [(0xC250B407, gpio.request(17, False))]
    output.close()
    assert descriptors() == before


def test_values_go_to_the_line(tmp_path: Path) -> None:
    chip = Chip()
    line = gpio.Output(
        os.open(tmp_path, os.O_RDONLY), lambda fd, request, data: chip.asked.append((request, data)) or data
    )
    line.set(True)
    line.set(False)
    line.close()
    assert chip.asked == [(0xC010B40F, gpio.values(True)), (0xC010B40F, gpio.values(False))]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errno.EBUSY, "line 17 of {} is in use by another program or driver"),
        (errno.EINVAL, "{} has no line 17 that can be an output"),
        (errno.ENOTTY, "{} is no GPIO chip, or this Linux is older than 5.10"),
        (errno.EIO, "cannot use line 17 of {}: Input/output error"),
        (errno.EPERM, "no permission on {}: add the user to its group"),
    ],
)
def test_why_a_line_cannot_be_had(
    tmp_path: Path, descriptors: Callable[[], int], error: int, words: str
) -> None:
    (tmp_path / "gpiochip0").touch()
    before = descriptors()
    with pytest.raises(LineDown) as caught:
        gpio.output("gpiochip0:17", False, Chip(error), str(tmp_path))
    assert str(caught.value) == words.format(tmp_path / "gpiochip0")
    assert descriptors() == before


def test_a_chip_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LineDown, match=f"^no such GPIO chip {tmp_path}/gpiochip7$"):
        gpio.output("gpiochip7:0", False, Chip(), str(tmp_path))
