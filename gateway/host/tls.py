"""TLS: contexts from the files that the config names, and every failure in words.

Promises: TLS 1.2 at least; the certificate and name of whoever we dial are always verified. What is wrong
with a file or a certificate arrives as LinkDown naming it. A refusal, theirs or ours, asks for a minute's
wait at least, because trying again does not cure it; a connection that is merely lost does not, nor does a
file, which hurts nobody.
Must not run on the loop: files are read and keys are computed with, so all of it is for a thread. Must not
ask ssl for anything when imported, nor must others in host: see _no_openssl.
"""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path
from typing import Protocol

from ..errors import LinkDown, PeerError

_REFUSED = 60.0  # seconds


class Context(Protocol):
    """An ssl.SSLContext, for those who only pass it on."""

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | None = None,
    ) -> ssl.SSLObject: ...

    def wrap_socket(self, sock: socket.socket, *, server_hostname: str | None) -> ssl.SSLSocket: ...


def context(ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
    """For whoever dials: trusts `ca`, or without it the system's authorities; shows `cert`.

    LinkDown names the file at fault.
    """
    made = _context(ssl.PROTOCOL_TLS_CLIENT)
    if ca is None:
        made.load_default_certs()
    else:
        _trust(made, ca)
    if cert is not None:
        _show(made, cert, key or cert)
    return made


def server_context(ca: Path | None, cert: Path, key: Path | None) -> ssl.SSLContext:
    """For whoever listens: shows `cert`, and with `ca` wants a certificate that this authority has signed.

    LinkDown names the file at fault.
    """
    made = _context(ssl.PROTOCOL_TLS_SERVER)
    if ca is not None:
        _trust(made, ca)
        made.verify_mode = ssl.CERT_REQUIRED
    _show(made, cert, key or cert)
    return made


def _context(protocol: int) -> ssl.SSLContext:
    made = ssl.SSLContext(protocol)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.options |= ssl.OP_NO_RENEGOTIATION
    return made


def _trust(made: ssl.SSLContext, ca: Path) -> None:
    text = _text(ca)
    try:
        made.load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        raise LinkDown(f"{ca} holds no certificate in PEM format") from None


def _show(made: ssl.SSLContext, cert: Path, key: Path) -> None:
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


# What went wrong with one that we dialled


def down(error: OSError, who: str = "the broker") -> LinkDown:
    """A failure in words. It may come after the handshake: TLS 1.3 refuses our certificate only then."""
    match error:
        case ssl.SSLCertVerificationError():
            return _refusal(_verification(error), who)
        case ssl.SSLError(reason=str(reason)) if "ALERT_" in reason:
            return _alert(reason.partition("ALERT_")[2], _words(error), who)
        case ssl.SSLError(reason=str(reason)) if reason in _NO_TLS:
            return _refusal("what answers there does not speak TLS", who)
        case ssl.SSLError(reason="UNSUPPORTED_PROTOCOL"):
            return _refusal(_TOO_OLD, who)
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError() | ConnectionError():
            return LinkDown(f"{who} closed the connection in the middle of TLS")
        case _:
            return LinkDown(f"TLS failed: {_words(error)}")


def _alert(name: str, words: str, who: str) -> LinkDown:
    if name in _PASSING:
        return LinkDown(f"{who} broke off TLS: {words}")
    return _refusal(_ALERTS.get(name, f"{{who}} refused: {words}"), who)


_NO_TLS = {  # what OpenSSL finds wrong with what came
    "WRONG_VERSION_NUMBER",
    "RECORD_LAYER_FAILURE",
    "HTTP_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
}
_TOO_OLD = "{who} speaks no TLS of version 1.2 or later"
_ALERTS = {  # what the far end says, RFC 8446 section 6; the names are OpenSSL's
    "CERTIFICATE_REQUIRED": "{who} wants a client certificate",
    "HANDSHAKE_FAILURE": "{who} refused the TLS handshake: it may want a client certificate",
    "UNKNOWN_CA": "{who} does not know the authority of our client certificate",
    "BAD_CERTIFICATE": "{who} does not accept our client certificate",
    "UNSUPPORTED_CERTIFICATE": "{who} does not accept our client certificate",
    "CERTIFICATE_UNKNOWN": "{who} does not accept our client certificate",
    "CERTIFICATE_EXPIRED": "our client certificate has expired",
    "CERTIFICATE_REVOKED": "our client certificate was revoked",
    "ACCESS_DENIED": "{who} denies access to our client certificate",
    "PROTOCOL_VERSION": _TOO_OLD,
}
_PASSING = {"INTERNAL_ERROR", "BAD_RECORD_MAC", "USER_CANCELLED"}  # of these: no word about who we are

_UNTRUSTED = {  # x509_vfy.h, X509_V_ERR_*
    9: "is not valid yet, or the clock of this gateway is wrong",
    10: "has expired, or the clock of this gateway is wrong",
    62: "is for another name",
    64: "is for another address",
}


def _verification(error: ssl.SSLCertVerificationError) -> str:
    what = _UNTRUSTED.get(error.verify_code, "is not trusted")
    return f"{{who}}'s certificate {what}: {error.verify_message.rstrip('.')}"


def _refusal(sentence: str, who: str) -> LinkDown:
    return LinkDown(sentence.replace("{who}", who), wait_at_least=_REFUSED)


# What went wrong with one that came to us


def turned_away(error: OSError) -> PeerError:
    """Why a client cannot have TLS, as a sentence of which the client is the subject."""
    match error:
        case ssl.SSLCertVerificationError():
            what = _UNTRUSTED.get(error.verify_code, "is not trusted")
            return PeerError(f"its certificate {what}: {error.verify_message.rstrip('.')}")
        case ssl.SSLError(reason=str(reason)) if reason in _NO_TLS:
            return PeerError("speaks no TLS")
        case ssl.SSLError(reason=str(reason)) if "ALERT_" in reason:
            name = reason.partition("ALERT_")[2]
            return PeerError(_CLIENT_SAYS.get(name, f"broke off TLS: {_words(error)}"))
        case ssl.SSLError(reason=str(reason)) if reason in _CLIENTS:
            return PeerError(_CLIENTS[reason])
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError() | ConnectionError():
            return PeerError("left in the middle of the TLS handshake")
        case _:
            return PeerError(f"TLS failed: {_words(error)}")


_CLIENTS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "shows no client certificate",
    "UNSUPPORTED_PROTOCOL": "speaks no TLS of version 1.2 or later",
    "NO_SHARED_CIPHER": "has no TLS cipher in common with us",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "has no TLS signature in common with us",
}
_CLIENT_SAYS = {
    "UNKNOWN_CA": "does not know the authority of our certificate",
    "BAD_CERTIFICATE": "does not accept our certificate",
    "UNSUPPORTED_CERTIFICATE": "does not accept our certificate",
    "CERTIFICATE_UNKNOWN": "does not accept our certificate",
    "CERTIFICATE_EXPIRED": "says that our certificate has expired",
}


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    return os.strerror(error.errno).lower() if error.errno else str(error)
