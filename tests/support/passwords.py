"""Hashes of the password `bar`, by other programs."""

from __future__ import annotations

SHA256 = "$sha256$fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9"
ARGON2I = "$argon2i$v=19$m=32768,t=3,p=4$OGU5MTM3YjVlYzQwZjhkZA$rVn53v6Ckpf7WH0676ZQLr9Hbm6VH3YnL6I9ONJcIIU"
"""The two hashes of the password `bar` in GoCheese's documentation."""

OF_BAR = {
    "gocheese-argon2i": ARGON2I,
    "gocheese-sha256": SHA256,
    "sha256-upper-case": "$sha256$" + SHA256.removeprefix("$sha256$").upper(),
    "argon2id": "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$qnkgu+dKoJha6s92eGQhkil3I9HRV19m9gNFMe6W0Q0",
    "bcrypt-2y": "$2y$05$pQQsm7lJnxJ1bxDgcshmJeHZyEMKHI2L0DqRAq0AoljN.33L1WJPW",
    "bcrypt-2b": "$2b$05$pQQsm7lJnxJ1bxDgcshmJeHZyEMKHI2L0DqRAq0AoljN.33L1WJPW",
    "bcrypt-2a": "$2a$05$pQQsm7lJnxJ1bxDgcshmJeHZyEMKHI2L0DqRAq0AoljN.33L1WJPW",
    "apr1": "$apr1$pD/vELNy$K8VAbIvYsaMTh1SsXEetL.",
    "sha": "{SHA}Ys23Ag/5IOWqZCw9QGaVDdHwH00=",
    "ssha": "{SSHA}xwj/zkV29hSrj2F8z5R4djrUxS6hlHJO",
    "md5-crypt": "$1$zlzoFtwd$cojanWOFORvvew.xZGPoV.",
    "sha256-crypt": "$5$B6LO0qYteyxomlUh$RpslY/lx2UFo9hG8WCfG8KUtw6HVlt.hu3X364q5t0D",
    "sha512-crypt": (
        "$6$z5bfAIvSIJzS8qdw$IGCQ1P0/40740ymBEEjhhSCroaool0QjUGQg8cCojNG32u0j3OrSBn.iFVpwxd/C5Qha52LILKnr2dhkg3YWn/"
    ),
    "des-crypt": "yhp1fYYL5cJDM",
}
