"""One request over the wire, by the library `requests`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests

from trackflow_core.errors import ConfigError, RetriableError, TerminalError
from trackflow_http.answers import Answer, Unheard, Unsure

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""The largest answer that is read."""

_CHUNK = 64 * 1024


class Sender:
    """Sends requests to one site and keeps the connection open.

    `headers` hold the credentials. Redirects are not followed: credentials would go along.
    """

    def __init__(
        self, base_url: str, headers: Mapping[str, str], timeout: tuple[float, float]
    ) -> None:
        self._base, self._timeout = base_url, timeout
        self._session = requests.Session()
        # By `auth`, because a .netrc would go before a mere header.
        self._session.auth = _Headers(headers)

    def send(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None,
        content: bytes | None,
        headers: Mapping[str, str],
    ) -> Answer:
        """The answer, whatever its status. Raises Unheard or Unsure without one, ConfigError where
        the address or the certificate is at fault."""
        where = f"{method} {self._base}{path}"
        try:
            with self._session.request(
                method,
                self._base + path,
                params=params,
                data=content,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            ) as response:
                return Answer(where, response.status_code, _lower(response), _read(response))
        except requests.exceptions.SSLError:
            raise ConfigError(
                f"{where}: the certificate is not valid; check the address or mend the certificate."
            ) from None
        except requests.exceptions.ConnectTimeout:
            raise Unheard(f"{where}: no connection in time; is the site up?") from None
        except requests.exceptions.Timeout:
            raise Unsure(f"{where}: no answer in time.") from None
        except (
            requests.exceptions.InvalidURL,
            requests.exceptions.InvalidSchema,
            requests.exceptions.MissingSchema,
        ):
            raise ConfigError(f"{where} is no address that can be asked: correct it.") from None
        except requests.exceptions.RequestException as error:
            raise _broken(where, error) from None


class _Headers(requests.auth.AuthBase):
    """Adds headers that nobody needs to see."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = dict(headers)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.update(self._headers)
        return request


def _broken(where: str, error: requests.exceptions.RequestException) -> RetriableError:
    """Whether anything was sent is only known where the connection was never made."""
    if "NewConnectionError" in repr(error) or "NameResolutionError" in repr(error):
        return Unheard(f"{where}: no connection; is the site up and its name right?")
    return Unsure(f"{where}: the connection broke.")


def _lower(response: requests.Response) -> Mapping[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _read(response: requests.Response) -> bytes:
    chunks, size = [], 0
    for chunk in response.iter_content(_CHUNK):
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            raise TerminalError(
                f"An answer of {response.url.partition('?')[0]} is larger than "
                f"{MAX_ANSWER_BYTES} bytes: ask for less at a time."
            )
        chunks.append(chunk)
    return b"".join(chunks)
