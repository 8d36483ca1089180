"""One HTTP exchange: a body goes, a reply comes whole and in time, or a named error."""

import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tuneloop
from tuneloop.generate.chat import CallError
from tuneloop.generate.endpoint_config import EndpointConfig

_MOST_BYTES = 16 << 20
_CONNECT_S = 20.0


@dataclass(frozen=True, slots=True)
class RawReply:
    """What came over the wire."""

    status: int
    headers: Mapping[str, str]
    """Names in any case."""
    content: bytes


class Transport:
    """Connections to one endpoint, kept open between calls and shared by threads.

    Redirects are not followed, since the key would go along, and nothing is read from the environment: no proxy,
    no certificates, no .netrc.
    """

    def __init__(self, config: EndpointConfig, key: str | None) -> None:
        import httpx2

        self._http = httpx2
        self._config = config
        headers = {
            "accept": "application/json",
            # A packed reply could grow past the limit on unpacking.
            "accept-encoding": "identity",
            "content-type": "application/json",
            "user-agent": f"tuneloop/{tuneloop.__version__}",
        }
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        is_encrypted = "https:" in {config.url.partition("//")[0], (config.proxy or "").partition("//")[0]}
        self._client: Any = httpx2.Client(
            headers=headers,
            timeout=httpx2.Timeout(config.timeout_s, connect=min(_CONNECT_S, config.timeout_s)),
            limits=httpx2.Limits(max_connections=config.concurrency, max_keepalive_connections=config.concurrency),
            proxy=config.proxy,
            # The system's certificates take a tenth of a second to load; without them nothing is trusted.
            verify=True if is_encrypted else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            follow_redirects=False,
            trust_env=False,
        )

    def post(self, body: bytes) -> RawReply:
        """Send one request.

        Raises:
            CallError: no connection, no whole reply within the timeout, or one of more than 16 MiB.
        """
        deadline_s = time.monotonic() + self._config.timeout_s
        try:
            with self._client.stream("POST", self._config.url, content=body) as reply:
                content = bytearray()
                for chunk in reply.iter_bytes():
                    content += chunk
                    if len(content) > _MOST_BYTES:
                        raise CallError("too_large", f"the reply is larger than {_MOST_BYTES >> 20} MiB", is_final=True)
                    # The library's limit is on each read; a server that drips would never meet it.
                    if time.monotonic() > deadline_s:
                        raise self._timeout()
                return RawReply(reply.status_code, reply.headers, bytes(content))
        except self._http.TimeoutException:
            raise self._timeout() from None
        except (self._http.ConnectError, self._http.ProxyError) as error:
            raise CallError("unreachable", f"no connection: {error}") from None
        except self._http.DecodingError as error:
            raise CallError("not_json", f"the reply cannot be unpacked: {error}") from None
        except self._http.TransportError as error:
            raise CallError("cut", f"the connection broke: {str(error) or type(error).__name__}") from None

    def _timeout(self) -> CallError:
        return CallError("timeout", f"no whole reply within {self._config.timeout_s:g} s")

    def close(self) -> None:
        """Close all connections, also those that somebody still waits on."""
        self._client.close()
