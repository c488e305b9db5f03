"""Broken signatures and documents beside a capsule (docs/formats: keys-and-envelopes.md, oci-and-caps.md).
Each case: name, codes, why, what makes it.
"""
import base64

from broken_documents import OTHER, SHAPE, with_step
from capswriter import MIB, ORDER, canonical, caps, descriptor, envelope, key, sha, signature, statement


# Signatures

HELD = "signature_invalid"
SHAPED = "signature_invalid field_invalid field_missing field_unknown layout_invalid"


def documents(make):
    return lambda: caps(documents=lambda digest: [make(digest)])


def enveloped(change, **other):
    """An honest signature whose envelope is changed after it was signed."""
    return documents(lambda digest: canonical(change(envelope(canonical(statement(digest)), **other))))


def stated(change, seeds=(1,)):
    """A changed statement, signed as it is."""
    def make(digest):
        changed = change(statement(digest))
        return canonical(envelope(changed if isinstance(changed, bytes) else canonical(changed), seeds))
    return documents(make)


def with_signature(change):
    def changed(found):
        one = found["signatures"][0]
        return {**found, "signatures": [{**one, "sig": base64.b64encode(change(base64.b64decode(one["sig"]))).decode()}]}
    return enveloped(changed)


def with_payload(change):
    return enveloped(lambda found: {**found, "payload": change(found["payload"])})


def author(public):
    return lambda found: {**found, "predicate": {"author": public}}


def flipped_sig(data):
    return data[:40] + bytes([data[40] ^ 1]) + data[41:]


def scalar_beyond(data):
    """The same scalar and the group's order: it solves the same equation."""
    return data[:32] + (int.from_bytes(data[32:], "little") + ORDER).to_bytes(32, "little")


def small_order(digest):
    """A key that is the neutral point: with it the neutral point and a scalar of zero sign anything."""
    neutral = (1).to_bytes(32, "little")
    found = envelope(canonical(author(neutral.hex())(statement(digest))))
    found["signatures"] = [{**found["signatures"][0], "sig": base64.b64encode(neutral + bytes(32)).decode()}]
    return canonical(found)


def loose_base64(text):
    """The same bytes with bits after the last one."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    at = text.index("=") - 1
    return text[:at] + alphabet[alphabet.index(text[at]) + 1] + text[at + 1:]


def with_loose_base64(digest):
    """A statement that is as long as its base64 needs to have padding."""
    found = statement(digest)
    while len(canonical(found)) % 3 == 0:
        found["subject"][0]["name"] = found["subject"][0].get("name", "") + "x"
    signed = envelope(canonical(found))
    return canonical({**signed, "payload": loose_base64(signed["payload"])})


SIGNATURE = [
    ("signature-flipped", HELD, "A bit of the signature is flipped.", with_signature(flipped_sig)),
    ("signature-short", SHAPED, "The signature has 63 bytes.", with_signature(lambda data: data[:-1])),
    ("signature-zero", HELD, "The signature is 64 zero bytes.", with_signature(lambda data: bytes(64))),
    ("signature-scalar", HELD, "The scalar is in another form: the group's order is added.", with_signature(scalar_beyond)),
    ("signature-small-order", HELD, "The author is a key of small order, which every message fits.", documents(small_order)),
    ("signature-other-key", HELD, "The author is another key than the one that signed.", stated(author(key(2)[2].hex()))),
    ("signature-no-point", HELD, "The author is no point of the curve.", stated(author("02" + "00" * 31))),
    ("signature-author-missing", SHAPED, "The predicate has no author.", stated(lambda found: {**found, "predicate": {}})),
    ("signature-author-short", SHAPED, "The author has 31 bytes.", stated(author(key(1)[2].hex()[:-2]))),
    ("signature-author-upper", SHAPED, "The author is in upper case.", stated(author(key(1)[2].hex().upper()))),
    ("signature-predicate-more", SHAPED, "The predicate has a member more.",
     stated(lambda found: {**found, "predicate": {**found["predicate"], "x": 1}})),
    ("signature-payload", HELD, "The payload was changed after it was signed.", documents(lambda digest: canonical(
        {**envelope(canonical(statement(digest))), "payload": envelope(canonical(statement(digest, {"author": key(2)[2].hex()})))["payload"]}))),
    ("signature-foreign", "signature_foreign", "The signature is about another capsule.",
     documents(lambda digest: signature(OTHER)[0])),
    ("signature-foreign-many", "signature_foreign", "The signature is about 400 other capsules.",
     stated(lambda found: {**found, "subject": [{"digest": {"sha256": sha(b"%d" % i)}} for i in range(400)]})),
    ("signature-base64-bits", SHAPED, "The payload's base64 has bits after its last byte.",
     documents(with_loose_base64)),
    ("signature-base64-space", SHAPED, "The payload's base64 has a line feed.", with_payload(lambda text: text[:76] + "\n" + text[76:])),
    ("signature-base64-padding", SHAPED, "The payload's base64 has a padding too many.", with_payload(lambda text: text + "====")),
    ("signature-none", SHAPED, "An envelope without signatures.", enveloped(lambda found: {**found, "signatures": []})),
    ("signature-17", SHAPED, "An envelope with 17 signatures.", enveloped(lambda found: {**found, "signatures": found["signatures"] * 17})),
    ("signature-key-id-missing", SHAPED, "A signature without keyid.",
     enveloped(lambda found: {**found, "signatures": [{"sig": found["signatures"][0]["sig"]}]})),
    ("signature-envelope-member", SHAPED, "An envelope with a member more.", enveloped(lambda found: {**found, "x": 1})),
    ("signature-envelope-spaces", "json_not_canonical layout_invalid", "An envelope with white space.",
     documents(lambda digest: signature(digest)[0].replace(b":", b": "))),
    ("signature-statement-spaces", "json_not_canonical " + HELD, "A statement with white space, signed as it is.",
     stated(lambda found: canonical(found).replace(b",", b", "))),
    ("signature-statement-member", SHAPED, "A statement with a member more.", stated(lambda found: {**found, "x": 1})),
    ("signature-statement-type", SHAPED, "A statement of in-toto's version 0.1.",
     stated(lambda found: {**found, "_type": "https://in-toto.io/Statement/v0.1"})),
    ("signature-statement-brackets", SHAPED + " json_invalid", "The payload is 40,000 opening brackets.",
     stated(lambda found: b"[" * 40000)),
    ("signature-statement-text", SHAPED + " json_invalid", "The payload is no JSON.", stated(lambda found: b"hello")),
    ("signature-subject-none", SHAPED + " signature_foreign", "A statement about nothing.", stated(lambda found: {**found, "subject": []})),
    ("signature-subject-sha512", SHAPED, "A subject with a second digest.",
     stated(lambda found: {**found, "subject": [{"digest": {"sha256": found["subject"][0]["digest"]["sha256"], "sha512": "00" * 64}}]})),
]


# What else refers to the capsule

def referrer(change):
    return with_step("referrer", change)


def note(text, size=0):
    """A document of a kind that says nothing here; its signature is no matter."""
    return canonical({"payload": base64.b64encode(text + b" " * size).decode(), "payloadType": "application/vnd.example.note",
                      "signatures": [{"keyid": OTHER, "sig": base64.b64encode(bytes(64)).decode()}]})


def notes(count):
    return lambda digest: [note(b"%d" % i) for i in range(count)]


def with_list(change):
    return lambda: caps(documents=notes(3), descriptors=change)


def stale_envelope(found):
    return [*found[:-2], (found[-2][0], [found[-2][1][0].replace(b"A", b"B", 1)]), found[-1]]


REFERRERS = [
    ("referrers-order", "layout_invalid", "The list and the blobs are in the reverse order.",
     lambda: caps(documents=notes(3), referrers=lambda found: found.reverse() or found)),
    ("referrers-list-order", "layout_invalid", "The list is in another order than the blobs.", with_list(lambda found: found[::-1])),
    ("referrers-list-missing", "layout_invalid", "The list is missing.", with_step("members", lambda found: found[:-1])),
    ("referrers-list-alone", "layout_invalid", "The list is empty.",
     lambda: caps(documents=lambda digest: [], descriptors=lambda found: [])),
    ("referrers-list-short", "layout_invalid", "The list leaves one out.", with_list(lambda found: found[1:])),
    ("referrers-list-twice", "layout_invalid", "The list names one twice.", with_list(lambda found: [found[0], *found])),
    ("referrers-list-kind", "layout_invalid", "The list has another artifact type than the manifest.",
     with_list(lambda found: [{**found[0], "artifactType": "application/vnd.in-toto+json"}, *found[1:]])),
    ("referrers-list-size", "layout_invalid digest_mismatch", "The list has another size for a manifest.",
     with_list(lambda found: [{**found[0], "size": 1}, *found[1:]])),
    ("referrers-list-digest", "layout_invalid digest_mismatch", "The list has another digest for a manifest.",
     with_list(lambda found: [{**found[0], "digest": "sha256:" + OTHER}, *found[1:]])),
    ("referrers-list-name", "layout_invalid", "The list is that of another capsule.",
     with_step("members", lambda found: [*found[:-1], (f"referrers/sha256-{OTHER}.json", found[-1][1])])),
    ("referrers-list-spaces", "json_not_canonical layout_invalid", "The list has white space.",
     with_step("list_bytes", lambda data: data + b" ")),
    ("referrers-list-large", "layout_invalid json_invalid", "The list has more than 1 MiB.",
     with_step("list_bytes", lambda data: data + b" " * MIB)),
    ("referrers-1025", "referrers_too_many layout_invalid", "1,025 documents refer to the capsule.", lambda: caps(documents=notes(1025))),
    ("referrers-subject", "layout_invalid", "A document refers to another capsule.",
     referrer(lambda value: {**value, "subject": {**value["subject"], "digest": "sha256:" + OTHER}})),
    ("referrers-subject-size", "layout_invalid", "A document refers to the capsule with another size.",
     referrer(lambda value: {**value, "subject": {**value["subject"], "size": 1}})),
    ("referrers-subject-missing", SHAPE, "A document refers to nothing.",
     referrer(lambda value: {name: inner for name, inner in value.items() if name != "subject"})),
    ("referrers-kind", "layout_invalid", "The artifact type is not that of the payload.",
     referrer(lambda value: {**value, "artifactType": "application/x"})),
    ("referrers-kind-text", "layout_invalid field_invalid", "The artifact type is no media type.",
     lambda: caps(documents=lambda digest: [note(b"x").replace(b"application/vnd.example.note", b"no media type")])),
    ("referrers-config", SHAPE, "The config is not the empty one.",
     lambda: caps(empty=lambda data: b"[]", referrer=lambda value: {**value, "config": descriptor(value["config"]["mediaType"], b"[]")})),
    ("referrers-layers", SHAPE, "A manifest with two envelopes.", referrer(lambda value: {**value, "layers": value["layers"] * 2})),
    ("referrers-layer-kind", SHAPE, "The envelope has another media type.",
     referrer(lambda value: {**value, "layers": [{**value["layers"][0], "mediaType": "application/json"}]})),
    ("referrers-annotations", SHAPE, "A manifest with annotations.", referrer(lambda value: {**value, "annotations": {"a": "b"}})),
    ("referrers-envelope-changed", "digest_mismatch layout_invalid", "An envelope has other bytes than its digest says.",
     with_step("members", stale_envelope)),
    ("referrers-envelope-large", "layout_invalid json_invalid", "An envelope has more than 4 MiB.",
     lambda: caps(documents=lambda digest: [note(b"x", 3200000)])),
    ("referrers-no-envelope", SHAPE, "A document is JSON, but no envelope.", lambda: caps(documents=lambda digest: [b'{"a":1}'])),
    ("referrers-text", "layout_invalid json_invalid", "A document is no JSON.", lambda: caps(documents=lambda digest: [b"hello"])),
]
def first_emptied(found):
    one, other = found["signatures"]
    return {**found, "signatures": [{**one, "sig": base64.b64encode(bytes(64)).decode()}, other]}


BESIDE = [
    ("honest-plain", "", "A whole file as the program writes it.", lambda: caps()),
    ("honest-frames", "", "A whole file in frames of 4,096 bytes.", lambda: caps(limit=4096)),
    ("honest-unsigned", "", "A whole file without a document.", lambda: caps(documents=lambda digest: [])),
    ("honest-two-keys", "", "One envelope, signed by its author and by somebody else.", enveloped(lambda found: found, seeds=(2, 1))),
    ("honest-one-bad-of-two", "", "Two signatures, of which the author's holds; the other does not matter.",
     enveloped(first_emptied, seeds=(2, 1))),
    ("honest-key-id", "", "keyid is a hint, and a wrong one changes nothing.",
     enveloped(lambda found: {**found, "signatures": [{**found["signatures"][0], "keyid": "x"}]})),
    ("honest-1024", "", "As many documents as may refer to a capsule.", lambda: caps(documents=notes(1024))),
]
CASES = {"signature": SIGNATURE, "referrers": REFERRERS, "honest": BESIDE}
