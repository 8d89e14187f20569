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


def test_a_credential_of_a_whole_folder_has_its_name_in_front(tmp_path: Path) -> None:
    there = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    (tmp_path / "credentials_mqtt").write_text("of the folder\n")
    assert credentials.from_systemd("mqtt", there) == "of the folder"
    (tmp_path / "mqtt").write_text("its own\n")
    assert credentials.from_systemd("mqtt", there) == "its own"


@pytest.mark.parametrize("started_by_systemd", [True, False])
def test_a_credential_that_is_missing_is_told_with_the_place_where_to_put_it(
    tmp_path: Path, started_by_systemd: bool
) -> None:
    with pytest.raises(LinkDown, match=r"/etc/gateway/credentials/mqtt, then: systemctl restart gatewayd$"):
        credentials.from_systemd(
            "mqtt", {"CREDENTIALS_DIRECTORY": str(tmp_path)} if started_by_systemd else {}
        )


def test_a_credential_that_is_empty_is_told_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "credentials_mqtt").write_text("")
    with pytest.raises(LinkDown, match="credentials_mqtt has an empty first line"):
        credentials.from_systemd("mqtt", {"CREDENTIALS_DIRECTORY": str(tmp_path)})
