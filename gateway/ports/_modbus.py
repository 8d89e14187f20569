"""A Modbus line in either role, each with its own keys: we ask its devices, or its master asks us."""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator

from ..contracts import Asking, Part, Transactor
from ..settings import Need, Wiring
from ..values import Fault
from ._asked import Terms
from ._client import Client, ClientConfig
from ._route import Route
from ._server import Server, ServerConfig
from ._units import ways

_ONLY = {  # keys that the other role has not
    "client": ClientConfig.model_fields.keys() - ServerConfig.model_fields,
    "server": ServerConfig.model_fields.keys() - ClientConfig.model_fields,
}


def _role(value: object) -> object:
    match value:
        case "master":
            raise ValueError('a master is called "client" here: we ask the devices on this line')
        case "slave":
            raise ValueError('a slave is called "server" here: the master on this line asks us')
    return value


class ModbusConfig(ClientConfig, ServerConfig):
    """A mode adds its framing, and what that makes of the keys: `rules`."""

    offers: ClassVar[Mapping[str, type]] = {"client": Transactor, "server": Asking}
    role: Annotated[Literal["client", "server"], BeforeValidator(_role)] = "client"

    def faults(self) -> Iterator[Fault]:
        yield from super().faults()
        other = "server" if self.role == "client" else "client"
        for key in sorted(self.model_fields_set & _ONLY[other]):
            yield Fault((key,), f'{key} goes with role = "{other}"')

    def needs(self) -> Iterator[Need]:
        if self.role == "server":
            yield from super().needs()

    @property
    def terms(self) -> Terms:
        rules = self.rules  # those of the line hold for both roles
        return Terms(
            character=rules.character,
            lead=rules.lead,
            gap=rules.gap,
            quiet=rules.quiet,
            answer_within=self.answer_within,
            says_why=self.when_away == "exception",
            echo=self.echo,
            held_back=self.flow != "none",
        )

    def build(self, name: str, wiring: Wiring, /) -> Part:
        if self.role == "client":
            return Client(self)
        own = ways(self.units, wiring.transactor)
        return Server(self, dict.fromkeys(own, Route(own, None)))
