"""The table `tls` of links: our own papers, and whose we trust. Reading the files is for a thread."""

from collections.abc import Iterator

from ..host import tls
from ..values import Fault, FilePath, Model


class Tls(Model):
    """Our own authority and certificate; without `ca` the system's authorities are trusted."""

    ca: FilePath | None = None
    cert: FilePath | None = None
    key: FilePath | None = None

    def faults(self) -> Iterator[Fault]:
        if self.key is not None and self.cert is None:
            yield Fault(("key",), "key goes with cert")

    def for_dialling(self) -> tls.Context:
        """LinkDown names the file at fault."""
        return tls.context(self.ca, self.cert, self.key)

    def for_listening(self) -> tls.Context:
        """`ca` is that of the certificates which clients have to show. LinkDown names the file at fault."""
        assert self.cert is not None
        return tls.server_context(self.ca, self.cert, self.key)
