"""TLS towards a broker: the context from the files that the config names, the handshake, and every failure in
words.

Promises: TLS 1.2 at least, certificate and name always verified. What is wrong with a file or a certificate
arrives as LinkDown naming it. A refusal, theirs or ours, asks for a minute's wait at least, because trying
again does not cure it; a connection that is merely lost does not, nor does a file, which hurts nobody.
Must not run on the loop: files are read and keys are computed with, so all of it is for a thread.
"""

import os
import socket
import ssl
from pathlib import Path

from ..errors import LinkDown

Context = ssl.SSLContext
_REFUSED = 60.0  # seconds


def context(ca: Path | None, cert: Path | None, key: Path | None) -> Context:
    """Trusts `ca`, or without it the system's authorities; shows `cert`. LinkDown names the file at fault."""
    made = Context(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca is None:
        made.load_default_certs()
    else:
        text = _text(ca)
        try:
            made.load_verify_locations(cadata=text)
        except (ssl.SSLError, ValueError):
            raise LinkDown(f"{ca} holds no certificate in PEM format") from None
    if cert is not None:
        _show(made, cert, key or cert)
    return made


def _show(made: Context, cert: Path, key: Path) -> None:
    if "-----BEGIN CERTIFICATE-----" not in _text(cert):
        raise LinkDown(f"{cert} holds no certificate in PEM format")
    secret = _text(key)
    if "PRIVATE KEY-----" not in secret:
        raise LinkDown(f"{key} holds no private key in PEM format")
    if "ENCRYPTED" in secret:
        raise LinkDown(f"{key} is locked by a pass phrase that nobody is here to type: store the key without")
    try:
        made.load_cert_chain(cert, key)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise LinkDown(f"the key {key} does not belong to the certificate {cert}") from None
        raise LinkDown(f"cannot use {cert} with {key}: {_words(error)}") from None


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except OSError as error:
        raise LinkDown(f"cannot read {path}: {os.strerror(error.errno or 0).lower()}") from None


def handshake(made: Context, sock: socket.socket, host: str) -> ssl.SSLSocket:
    """Takes `sock` over, which has a timeout, and closes it on failure. Blocks."""
    try:
        return made.wrap_socket(sock, server_hostname=host)
    except TimeoutError:
        sock.close()
        raise LinkDown("no answer to the TLS handshake") from None
    except OSError as error:
        sock.close()
        raise down(error) from None


def down(error: OSError) -> LinkDown:
    """A failure in words. It may come after the handshake: TLS 1.3 refuses our certificate only then."""
    match error:
        case ssl.SSLCertVerificationError():
            return _refusal(_verification(error))
        case ssl.SSLError(reason=str(reason)) if "ALERT_" in reason:
            return _alert(reason.partition("ALERT_")[2], _words(error))
        case ssl.SSLError(reason=str(reason)) if reason in _OURS:
            return _refusal(_OURS[reason])
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError() | ConnectionError():
            return LinkDown("the broker closed the connection in the middle of TLS")
        case _:
            return LinkDown(f"TLS failed: {_words(error)}")


def _alert(name: str, words: str) -> LinkDown:
    if name in _PASSING:
        return LinkDown(f"the broker broke off TLS: {words}")
    return _refusal(_ALERTS.get(name, f"the broker refused: {words}"))


_NOT_TLS = "what answers there does not speak TLS"
_OURS = {  # what OpenSSL finds wrong with the answer
    "WRONG_VERSION_NUMBER": _NOT_TLS,
    "RECORD_LAYER_FAILURE": _NOT_TLS,
    "HTTP_REQUEST": _NOT_TLS,
    "PACKET_LENGTH_TOO_LONG": _NOT_TLS,
    "UNSUPPORTED_PROTOCOL": "the broker speaks no TLS of version 1.2 or later",
}
_ALERTS = {  # what the far end says, RFC 8446 section 6; the names are OpenSSL's
    "CERTIFICATE_REQUIRED": "the broker wants a client certificate",
    "HANDSHAKE_FAILURE": "the broker refused the TLS handshake: it may want a client certificate",
    "UNKNOWN_CA": "the broker does not know the authority of our client certificate",
    "BAD_CERTIFICATE": "the broker does not accept our client certificate",
    "UNSUPPORTED_CERTIFICATE": "the broker does not accept our client certificate",
    "CERTIFICATE_UNKNOWN": "the broker does not accept our client certificate",
    "CERTIFICATE_EXPIRED": "our client certificate has expired",
    "CERTIFICATE_REVOKED": "our client certificate was revoked",
    "ACCESS_DENIED": "the broker denies access to our client certificate",
    "PROTOCOL_VERSION": "the broker speaks no TLS of version 1.2 or later",
}
_PASSING = {"INTERNAL_ERROR", "BAD_RECORD_MAC", "USER_CANCELLED"}  # of these: no word about who we are

_UNTRUSTED = {  # x509_vfy.h, X509_V_ERR_*
    9: "the broker's certificate is not valid yet, or the clock of this gateway is wrong",
    10: "the broker's certificate has expired, or the clock of this gateway is wrong",
    62: "the broker's certificate is for another name",
    64: "the broker's certificate is for another address",
}


def _verification(error: ssl.SSLCertVerificationError) -> str:
    what = _UNTRUSTED.get(error.verify_code, "the broker's certificate is not trusted")
    return f"{what}: {error.verify_message.rstrip('.')}"


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    return os.strerror(error.errno).lower() if error.errno else str(error)


def _refusal(sentence: str) -> LinkDown:
    return LinkDown(sentence, wait_at_least=_REFUSED)
