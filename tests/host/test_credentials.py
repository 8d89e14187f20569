"""Secrets in files."""

from pathlib import Path

import pytest

from gateway.errors import LinkDown
from gateway.host import credentials


def test_a_secret_is_the_first_line_and_nothing_but_its_end_is_cut(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    for text in (" s3cret ", " s3cret \n", " s3cret \r\nmore\n"):
        file.write_bytes(text.encode())
        assert credentials.from_file(file) == " s3cret "


def test_what_is_wrong_with_a_secret_is_told_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\nsecond line\n")
    (tmp_path / "nothing").write_text("")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name, words in {
        "absent": "cannot read {}: no such file or directory",
        "empty": "{} has an empty first line",
        "nothing": "{} has an empty first line",
        "binary": "{} is not UTF-8 text",
    }.items():
        with pytest.raises(LinkDown) as caught:
            credentials.from_file(tmp_path / name)
        assert str(caught.value) == words.format(tmp_path / name)
        assert caught.value.wait_at_least == 0


def test_a_credential_comes_from_the_folder_that_systemd_names(tmp_path: Path) -> None:
    (tmp_path / "mqtt").write_text("s3cret\n")
    assert credentials.from_systemd("mqtt", {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == "s3cret"
    with pytest.raises(LinkDown, match="needs LoadCredential=mqtt:/path"):
        credentials.from_systemd("mqtt", {})
