"""Opens a backup of a home with PyNaCl and the standard library alone: FILE PASSPHRASE.

Checks every rule of docs/formats/backup.md that a whole file must keep, and prints the entries as one JSON array: headers with
decoded paths (latin-1, a byte a character), and the SHA-256 of each file's content.
"""
import base64
import hashlib
import hmac
import json
import pathlib
import struct
import sys

from nacl import bindings as sodium
from nacl.pwhash import argon2id

data, passphrase = pathlib.Path(sys.argv[1]).read_bytes(), sys.argv[2].encode()

header, fields = data[:125], data[:61]
assert fields[:5] == b"OSHB\x01"
passes, memory = struct.unpack("<QQ", fields[5:21])
assert hashlib.sha256(header[:93]).digest() == header[93:]
key = argon2id.kdf(32, passphrase, fields[21:37], opslimit=passes, memlimit=memory)
assert hmac.new(key, b"oursynth-backup-check-v1" + fields, hashlib.sha256).digest() == header[61:93], "the passphrase is wrong"

state = sodium.crypto_secretstream_xchacha20poly1305_state()
sodium.crypto_secretstream_xchacha20poly1305_init_pull(state, fields[37:61], hmac.new(key, b"oursynth-backup-stream-v1", hashlib.sha256).digest())
offset, content, tag = 125, bytearray(), None
while tag != sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL:
    (length,) = struct.unpack_from("<I", data, offset)
    message, tag = sodium.crypto_secretstream_xchacha20poly1305_pull(state, data[offset + 4:offset + 4 + length], header if offset == 125 else None)
    assert len(message) == 65536 or tag == sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL
    content += message
    offset += 4 + length
assert offset == len(data), "something follows the last message"

entries, seen, folders, offset, files, size = [], set(), {""}, 0, 0, 0
while offset < len(content):
    (length,) = struct.unpack_from("<I", content, offset)
    text = bytes(content[offset + 4:offset + 4 + length])
    entry = json.loads(text)
    assert json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == text, "not canonical"
    offset += 4 + length
    if "path" in entry:
        path = base64.b64decode(entry["path"]).decode("latin-1")
        parent = path.rpartition("/")[0]
        assert path not in seen and parent in folders, path
        seen.add(path)
        entry["path"] = path
        if entry["type"] == "d":
            folders.add(path)
        if entry["type"] == "l":
            entry["target"] = base64.b64decode(entry["target"]).decode("latin-1")
        if entry["type"] == "f":
            entry["sha256"] = hashlib.sha256(content[offset:offset + entry["size"]]).hexdigest()
            offset, files, size = offset + entry["size"], files + 1, size + entry["size"]
    entries.append(entry)
assert offset == len(content)
assert entries[0]["format"] == 1 and entries[-1] == {"end": True, "files": files, "bytes": size}
print(json.dumps(entries))
