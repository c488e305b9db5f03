"""Makes hostile `.caps` files out of an honest one: forge.py HONEST.caps FOLDER

Each is sealed as docs/formats/oci-and-caps.md says (frames, digest frame, seek table, all digests made anew), so that only
what is inside is wrong. Prints one line a file: NAME.caps. Needs the zstd command.
"""
import hashlib
import io
import json
import struct
import subprocess
import sys
import tarfile


def sha(data):
    return hashlib.sha256(data).hexdigest()


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def members(path):
    tar = tarfile.open(fileobj=io.BytesIO(subprocess.run(["zstd", "-dcq", path], check=True, capture_output=True).stdout))
    return [(m.name, tar.extractfile(m).read()) for m in tar]


def header(name, size):
    fields = [name.encode().ljust(100, b"\0"), b"0000644\0", b"0000000\0", b"0000000\0", b"%011o\0" % size, b"%011o\0" % 315532800,
              b" " * 8, b"0", bytes(100), b"ustar\x0000", bytes(64), b"0000000\0", b"0000000\0", bytes(167)]
    fields[6] = b"%06o\0 " % sum(b"".join(fields))
    return b"".join(fields)


def tar_of(parts):
    return b"".join(header(name, len(data)) + data + bytes(-len(data) % 512) for name, data in parts) + bytes(1024)


def sealed(content):
    out, table = b"", []
    for start in range(0, len(content), 1 << 20):
        part = content[start:start + (1 << 20)]
        with open("/dev/shm/forge-%d" % len(part), "wb") as file:
            file.write(part)
        frame = subprocess.run(["zstd", "-cq", "--no-check", file.name], check=True, capture_output=True).stdout
        subprocess.run(["rm", "-f", file.name], check=True)
        out += frame
        table.append((len(frame), len(part)))
    digest = struct.pack("<II", 0x184D2A50, 32) + hashlib.sha256(out).digest()
    table.append((len(digest), 0))
    entries = b"".join(struct.pack("<II", *entry) for entry in table) + struct.pack("<IBI", len(table), 0, 0x8F92EAB1)
    return out + digest + struct.pack("<II", 0x184D2A5E, len(entries)) + entries


class Capsule:
    """The documents of an honest capsule, to be changed and put together again."""

    def __init__(self, parts):
        blobs = dict(parts)
        listed = json.loads(blobs["index.json"])
        self.manifest = json.loads(blobs["blobs/sha256/" + listed["manifests"][0]["digest"][7:]])

        def blob(descriptor):
            return blobs["blobs/sha256/" + descriptor["digest"][7:]]

        self.listed = listed
        self.root = json.loads(blob(self.manifest["config"]))
        self.index = json.loads(blob(self.manifest["layers"][0]))
        self.chunks = blob(self.manifest["layers"][1])
        self.files = blob(self.manifest["layers"][2])
        # What refers to the capsule: the manifest of each document, and the document.
        lists = [data for name, data in parts if name.startswith("referrers/")]
        referrers = [json.loads(blob(one)) for one in (json.loads(lists[0])["manifests"] if lists else [])]
        self.referrers = [(referrer, json.loads(blob(referrer["layers"][0]))) for referrer in referrers]

    def parts(self):
        index = canonical(self.index)
        self.root["index"], self.root["chunks"] = "sha256:" + sha(index), "sha256:" + sha(self.chunks)
        contents = [canonical(self.root), index, self.chunks, self.files]
        for descriptor, data in zip([self.manifest["config"], *self.manifest["layers"]], contents):
            descriptor["digest"], descriptor["size"] = "sha256:" + sha(data), len(data)
        manifest = canonical(self.manifest)
        self.listed["manifests"][0].update(digest="sha256:" + sha(manifest), size=len(manifest))
        named = [("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", canonical(self.listed))]
        documents, listed = [], []
        for referrer, envelope in self.referrers:
            data = canonical(envelope)
            referrer["layers"][0].update(digest="sha256:" + sha(data), size=len(data))
            referrer["subject"].update(digest="sha256:" + sha(manifest), size=len(manifest))
            documents.append((canonical(referrer), data, referrer["artifactType"]))
        documents.sort(key=lambda document: sha(document[0]))
        blobs = [manifest, *contents]
        for referrer, data, kind in documents:
            blobs += [referrer, b"{}", data]
            listed.append({"artifactType": kind, "digest": "sha256:" + sha(referrer), "mediaType": "application/vnd.oci.image.manifest.v1+json",
                           "size": len(referrer)})
        named += [("blobs/sha256/" + sha(data), data) for data in dict.fromkeys(blobs)]
        if listed:
            index = {"manifests": listed, "mediaType": "application/vnd.oci.image.index.v1+json", "schemaVersion": 2}
            named.append((f"referrers/sha256-{sha(manifest)}.json", canonical(index)))
        return named


def with_path(old, new):
    def change(capsule):
        for entry in capsule.index["entries"]:
            if entry["path"] == old:
                entry["path"] = new
        capsule.files = capsule.files.replace(old.encode().ljust(100, b"\0"), new.encode().ljust(100, b"\0"), 1)
    return change


def with_link(target):
    def change(capsule):
        capsule.index["entries"].append({"mode": 511, "path": "zz-link", "target": target, "type": "l"})
    return change


def other_byte(capsule):
    """The first byte of the first file's content."""
    place = capsule.files.index(b"page.txt".ljust(100, b"\0")) + 512
    capsule.files = capsule.files[:place] + bytes([capsule.files[place] ^ 1]) + capsule.files[place + 1:]


def signature_bit(capsule):
    for _, envelope in capsule.referrers:
        signature = envelope["signatures"][0]
        signature["sig"] = ("B" if signature["sig"][0] == "A" else "A") + signature["sig"][1:]


def without_signatures(capsule):
    capsule.referrers = []


FORGERIES = {
    "path-climbs": with_path("page.txt", "../p.txt"), "path-absolute": with_path("page.txt", "/page.tx"),
    "path-climbs-inside": with_path("page.txt", "a/../b.t"), "link-absolute": with_link("/etc/passwd"),
    "link-climbs": with_link("../outside"), "link-to-itself-and-out": with_link("zz-link/../../x"), "content-changed": other_byte,
    "signature-flipped": signature_bit, "unsigned": without_signatures, "honest": lambda capsule: None,
}


def main(honest, folder):
    parts = members(honest)
    for name, change in FORGERIES.items():
        capsule = Capsule(parts)
        change(capsule)
        with open(f"{folder}/{name}.caps", "wb") as file:
            file.write(sealed(tar_of(capsule.parts())))
        print(f"{name}.caps")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
