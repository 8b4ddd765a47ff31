"""The server's side of SCRAM in its own words: nothing of it is shared with the client's."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass


def hash_of(name: str) -> str:
    """Return Python's name for the hash of a mechanism: ``sha256`` for SCRAM-SHA-256-PLUS."""
    return name.removeprefix("SCRAM-").removesuffix("-PLUS").lower().replace("sha-", "sha").replace("-", "_")


@dataclass
class ScramServer:
    """The server's side of RFC 5802 in its own words; ``password`` is what SASLprep makes of it."""

    hash_name: str
    password: bytes
    iterations: int = 4096
    nonce: str = "server"
    salt: bytes = bytes(range(16))

    def first(self, client_first: bytes) -> bytes:
        self.client_first_bare = client_first.split(b",", 2)[2]
        nonce = self.client_first_bare.split(b"r=")[1].decode() + self.nonce
        self.server_first = f"r={nonce},s={base64.b64encode(self.salt).decode()},i={self.iterations}".encode()
        return self.server_first

    def final(self, client_final: bytes) -> bytes:
        """Assert the client's proof, and return the server's."""
        without_proof, proof = client_final.split(b",p=")
        salted = hashlib.pbkdf2_hmac(self.hash_name, self.password, self.salt, self.iterations)
        auth_message = b",".join([self.client_first_bare, self.server_first, without_proof])
        client_key = self.mac(salted, b"Client Key")
        stored_key = hashlib.new(self.hash_name, client_key).digest()
        signature = self.mac(stored_key, auth_message)
        assert base64.b64decode(proof) == bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        return b"v=" + base64.b64encode(self.mac(self.mac(salted, b"Server Key"), auth_message))

    def mac(self, key: bytes, message: bytes) -> bytes:
        return hmac.new(key, message, self.hash_name).digest()
