"""An OpenID provider on loopback."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm


class Provider:
    """An OpenID provider with one RSA key, on loopback. It answers while `answers` is set; status: with which."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers = threading.Event()
        self.answers.set()
        self.status = 200
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = json.loads(RSAAlgorithm.to_jwk(self.key.public_key()))
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked.append(self.path)
                provider.answers.wait(30)
                documents = {
                    "/.well-known/openid-configuration": {"jwks_uri": f"{provider.url}/keys"},
                    "/keys": {"keys": [public | {"kid": "k1", "use": "sig", "alg": "RS256"}]},
                }
                body = json.dumps(documents[self.path]).encode()
                self.send_response(provider.status)
                self.send_header("Location", f"{provider.url}/elsewhere")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def token(self, key: Any = None, algorithm: str = "RS256", kid: str = "k1", **claims: Any) -> str:
        body = {"iss": self.url, "aud": "citewell", "sub": "ann", "exp": time.time() + 60, "tenant": "acme"}
        body |= {"scope": "openid citewell:ask", "groups": ["hr"]} | claims
        body = {name: value for name, value in body.items() if value is not None}
        signed = self.key if key is None else key
        return jwt.PyJWS().encode(json.dumps(body).encode(), signed, algorithm=algorithm, headers={"kid": kid})
