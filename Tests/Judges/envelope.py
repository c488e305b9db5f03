"""Checks a capsule's signature envelope with securesystemslib alone: LAYOUT PUBLIC_KEY.pem CAPSULE_DIGEST.

Finds the in-toto envelope among the layout's referrers, verifies it against the PEM key, checks that the statement is
about the capsule, and that any single flipped bit of signature or payload is rejected.
"""
import base64
import copy
import json
import pathlib
import sys

from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

layout, pem, digest = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
key = SSlibKey.from_crypto(load_pem_public_key(pem.read_bytes()), scheme="ed25519")
blob = lambda d: (layout / "blobs" / "sha256" / d.removeprefix("sha256:")).read_bytes()

(referrers,) = (layout / "referrers").iterdir()
envelopes = []
for descriptor in json.loads(referrers.read_bytes())["manifests"]:
    manifest = json.loads(blob(descriptor["digest"]))
    document = json.loads(blob(manifest["layers"][0]["digest"]))
    statement = json.loads(base64.b64decode(document["payload"]))
    if statement.get("predicateType") == "urn:oursynth:attestation:signature:v1":
        envelopes.append((document, statement))
(document, statement), = envelopes

assert document["payloadType"] == "application/vnd.in-toto+json"
assert statement["_type"] == "https://in-toto.io/Statement/v1"
assert [s["digest"]["sha256"] for s in statement["subject"]] == [digest.removeprefix("sha256:")]
assert document["signatures"][0]["keyid"] == key.keyid, (document["signatures"][0]["keyid"], key.keyid)
Envelope.from_dict(copy.deepcopy(document)).verify([key], 1)
print("verified", key.keyid)

for where in ("payload", "sig"):
    for position in (0, -1):
        changed = copy.deepcopy(document)
        text = changed["payload"] if where == "payload" else changed["signatures"][0]["sig"]
        raw = bytearray(base64.b64decode(text))
        raw[position] ^= 1
        text = base64.b64encode(bytes(raw)).decode()
        if where == "payload":
            changed["payload"] = text
        else:
            changed["signatures"][0]["sig"] = text
        try:
            Envelope.from_dict(changed).verify([key], 1)
        except VerificationError:
            continue
        sys.exit(f"a flipped bit in {where} was accepted")
print("flipped bit rejected")
