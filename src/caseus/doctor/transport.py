"""The way to the index: TLS, or why there is none."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final

from caseus.doctor.client import Untrusted
from caseus.doctor.verdicts import Verdict, fail, ok, quoted, some, warn
from caseus.doctor.visit import Visit

TLS: Final = "TLS"
_SOON = 21
_DAY = 86_400
_MEND: Final = {
    10: "renew the certificate",
    18: "use a certificate of an authority, or name it in SSL_CERT_FILE (of uv: and set --native-tls)",
    19: "name the authority's certificate in SSL_CERT_FILE",
    20: "send the intermediate certificates too, or name the authority's certificate in SSL_CERT_FILE",
    21: "send the intermediate certificates too, or name the authority's certificate in SSL_CERT_FILE",
    62: "use a certificate that has this name",
    64: "use a certificate that has this address",
}
"""By OpenSSL's codes (X509_V_ERR_…)."""


def tls(visit: Visit) -> Iterator[Verdict]:
    """The certificate was found good with what the server sent, or nothing would have been asked at all."""
    if visit.client.origin.scheme == "http":
        if is_own_machine(visit.client.origin.host):
            yield ok("plain HTTP, on this machine")
        else:
            yield warn(
                "plain HTTP: pip refuses it without --trusted-host, and passwords can be read on the way",
                "put a proxy that speaks TLS in front",
            )
        return
    certificate = visit.client.certificate
    if certificate is None:  # a proxy of the client's own that ends TLS
        yield warn("the certificate could not be seen", "try without a proxy")
        return
    days = int((certificate.expires - visit.request.clock()) // _DAY)
    told = f"{some(certificate.names)}, by {quoted(certificate.issuer)}, {certificate.protocol}, for {days} more days"
    yield warn(f"the certificate expires soon: {told}", "renew it") if days < _SOON else ok(told)


def untrusted(error: Untrusted) -> Verdict:
    """Why no request was made: nothing is sent to who can't prove who it is."""
    mend = _MEND.get(error.code or 0, "look at it with: openssl s_client -showcerts -connect HOST:PORT")
    return fail(str(error), mend)


def is_own_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
