"""Asks python-tuf what it makes of rotations of roots: standard input has a JSON list of cases, standard output a list of verdicts.

A case: {"old": {"roots": [seed, ...], "threshold": n}, "new": {"version": n, "roots": [seed, ...], "threshold": n}, "signers": [seed, ...]},
where a seed is 32 bytes of an Ed25519 secret key in hex. A verdict is true where a TUF client that trusts the old root (version 1)
takes the new one (TUF specification, section 5.3).
"""
import datetime
import json
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Role, Root, Snapshot, Targets, Timestamp
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType


def signer(seed):
    return CryptoSigner(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed)))


def root(version, roots, threshold, signers):
    keys = [signer(seed).public_key for seed in roots]
    ids = [key.keyid for key in keys]
    others = {name: Role(list(ids), 1) for name in (Timestamp.type, Snapshot.type, Targets.type)}
    body = Root(version=version, expires=datetime.datetime(2100, 1, 1, tzinfo=datetime.timezone.utc), consistent_snapshot=True,
                keys={key.keyid: key for key in keys}, roles={Root.type: Role(ids, threshold), **others})
    metadata = Metadata(body)
    for seed in signers:
        metadata.sign(signer(seed), append=True)
    return metadata.to_bytes()


def verdict(case):
    old, new = case["old"], case["new"]
    trusted = TrustedMetadataSet(root(1, old["roots"], old["threshold"], old["roots"]), EnvelopeType.METADATA)
    try:
        trusted.update_root(root(new["version"], new["roots"], new["threshold"], case["signers"]))
        return True
    except RepositoryError:
        return False


json.dump([verdict(case) for case in json.load(sys.stdin)], sys.stdout)
