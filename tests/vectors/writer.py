"""Writes test vectors from ophie-crypt/SPEC.md alone; by itself, random ones that all open.

    python3 writer.py COUNT FOLDER

Invariant: a file that exists is never written. Absent: the cases of this folder (`cases.py`).
"""

import base64
import json
import os
import pathlib
import random
import struct
import sys
import uuid

sys.dont_write_bytecode = True  # no folder of compiled code beside the vectors

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from reader import (
    CODECS, FIELDS, TWO_SHARE, canonical, context, fingerprint, hkdf, is_assigned, join, key_id, normal_form, pae,
    receipt_mac, seal_key,
)


def file_of(fields, stored):
    lines = [f"{field}: {fields[field]}".rstrip(" ") for field in FIELDS if fields.get(field) is not None]
    hexadecimal = stored.hex()
    body = [hexadecimal[at : at + 64] for at in range(0, len(hexadecimal), 64)]
    return "\n".join([*lines, "", *body, ""])


def write_new(path, text):
    with path.open("x", encoding="utf-8", newline="\n") as file:
        file.write(text)


# ---- The stored bytes. `was` is what the writer did, which need not be what the file says.


def seal(key, header, nonce, aad, plaintext):
    return header + nonce + AESGCM(key).encrypt(nonce, plaintext, aad)


def pad(plaintext, bucket):
    padded = plaintext + b"\x80"
    return padded + bytes(-len(padded) % bucket)


def value(was, nonce):
    dek, row = bytes.fromhex(was["dek"]), was.get("row")
    plaintext, bucket, padded = bytes.fromhex(was["plaintext"]), was.get("bucket"), was.get("padded")
    if bucket and padded is None:
        padded = pad(plaintext, int(bucket))
    form = 0xFA + (row is not None) + 2 * (padded is not None)
    header = bytes([was.get("form", form)]) + was.get("key id", key_id(dek))
    names = (was["table"], was["column"], was["codec"])
    row = b"" if row is None else canonical(row)
    aad = was.get("pae", pae)("ophie-crypt/v1/value", header, canonical(was["owner"]), *names, row)
    plaintext = plaintext if padded is None else padded
    return seal(was.get("key", seal_key(dek)), header, nonce, aad, plaintext)


def sidecar(was, nonce):
    return b"ophie1." + base64.urlsafe_b64encode(value(was, nonce)).rstrip(b"=")


def index_key(was, nonce):
    dek = bytes.fromhex(was["dek"])
    header = bytes([was.get("form", 0xFA)]) + key_id(dek)
    label = was.get("label", "ophie-crypt/v1/index-key")
    aad = pae(label, header, canonical(was["owner"]), bytes([int(was["generation"])]))
    return seal(seal_key(dek), header, nonce, aad, bytes.fromhex(was["index key"]))


def older_key(was, nonce):
    newest = bytes.fromhex(was["dek"])
    header = bytes([was.get("form", 0xFA)]) + key_id(newest)
    label = was.get("label", "ophie-crypt/v1/dek")
    generation = was.get("generation bytes", int(was["generation"]).to_bytes(4, "big"))
    aad = pae(label, header, canonical(was["owner"]), generation)
    return seal(seal_key(newest), header, nonce, aad, bytes.fromhex(was["older dek"]))


def receipt(was, _):
    return receipt_mac(bytes.fromhex(was["dek"]), bytes.fromhex(was["text"]))


def wrapped_key(was, nonce):
    master = bytes.fromhex(was["master key"])
    header = bytes([was.get("version", 1)]) + hkdf(master, "ophie-crypt/v1/local-kms/key-id", 16)
    aad = pae("ophie-crypt/v1/local-kms", header, *context(was))
    return seal(hkdf(master, "ophie-crypt/v1/local-kms/wrap", 32), header, nonce, aad, bytes.fromhex(was["dek"]))


def two_shares(was, nonce):
    """`first share` is what `dek` is for a key in one piece."""
    return share_header(was) + wrapped_key({**was, "dek": was["first share"]}, nonce)


def share_header(was):
    return bytes([was.get("share version", 2)]) + bytes.fromhex(was["share id"])


def dek_of_shares(fields):
    first, second = bytes.fromhex(fields["first share"]), bytes.fromhex(fields["second share"])
    return join(fields, share_header(fields), first, second)


def kek(master):
    return "local:" + hkdf(master, "ophie-crypt/v1/local-kms/key-id", 16).hex()


# ---- Random cases. Places are those for which the tests in Rust have markers.

PLACES = [
    ("memories", "value"),
    ("memories", "note"),
    ("dreams", "value"),
    ("größen", "длина"),
    ("ab", "c"),
    ("a", "bc"),
]
INDEXES = [
    *(("people_links", "name", "name_fp"), ("people_links", "name", "name_fp_2")),
    *(("people_links", "nickname", "name_fp"), ("contacts", "name", "name_fp")),
]


def random_text():
    """Of characters that this Python's Unicode tables assign, those that normalising moves among them."""
    pools = [
        "abcXYZ 019.+@",
        "ÄéñßİıſΣςﬁǅ",
        "e\u0301\u0316\u0345\u0308",
        "\u00a0\u2003\u3000\t\u0085\n",
        "\u00ad\u200d\ufe0f\u034f",
        None,
    ]
    chars = []
    while len(chars) < random.choice([0, 1, 5, 40]):
        pool = random.choice(pools)
        c = random.choice(pool) if pool else chr(random.randrange(0x110000))
        if is_assigned(c) and not "\ud800" <= c <= "\udfff":
            chars.append(c)
    return "".join(chars)


def random_json(depth=3):
    leaf = [None, True, random.randrange(-(2**63), 2**63), random.uniform(-1e9, 1e9), random_text()]
    if depth == 0 or random.random() < 0.4:
        return random.choice(leaf)
    parts = [random_json(depth - 1) for _ in range(random.randrange(4))]
    return random.choice([parts, {random_text(): part for part in parts}])


def random_plaintext(codec):
    seconds, nanoseconds = random.randrange(86_400), random.randrange(10**9)
    if seconds % 60 == 59 and random.random() < 0.5:
        nanoseconds += 10**9
    if codec == "text":
        return random_text().encode()
    if codec == "json":
        return json.dumps(random_json(), ensure_ascii=random.random() < 0.5, indent=random.choice([None, 1])).encode()
    if codec == "time":
        return struct.pack(">II", seconds, nanoseconds)
    if codec.startswith("timestamp"):
        return struct.pack(">qI", random.randrange(-(10**7), 10**7) * 86_400 + seconds, nanoseconds)
    if codec == "date":
        return struct.pack(">i", random.randrange(-(10**7), 10**7))
    if codec == "bool":
        return random.choice([b"\0", b"\1"])
    return os.urandom({"f64": 8, "int": 8, "uuid": 16}.get(codec, random.choice([0, 1, 44, 200])))


def random_owner():
    ids = [
        f"integer {random.randrange(-(2**63), 2**63)}",
        f"text {random.choice('abcж')}{uuid.uuid4()}",
        f"uuid {uuid.uuid4()}",
    ]
    return random.choice(ids)


def random_case():
    keys = [random_index_key, random_wrapped_key, random_older_key, random_receipt]
    make = random.choice([random_value] * 5 + [random_fingerprint] * 3 + keys)
    fields = {"expect": "opens", "owner": random_owner(), "dek": os.urandom(32).hex()}
    return make(fields)


def random_value(fields):
    codec = random.choice([*CODECS, "bytes", "my-app/point"])
    table, column = random.choice(PLACES)
    plaintext = random_plaintext(codec)
    fields.update({"what": "value", "table": table, "column": column, "codec": codec, "plaintext": plaintext.hex()})
    fields["type"] = "i64" if codec == "int" else None
    fields["bucket"] = random.choice([None, "1", "16", "300"])
    fields["row"] = random.choice([None, random_owner()])
    fields["value"] = CODECS[codec](plaintext, fields) if codec in CODECS else None
    fields["what"] = random.choice(["value", "value", "sidecar"])
    return fields, (value if fields["what"] == "value" else sidecar)(fields, os.urandom(12))


def random_fingerprint(fields):
    table, column, index = random.choice(INDEXES)
    normaliser = random.choice(["exact/1", "name/1", "name/1", "email/1"])
    text = random_text()
    fields.update({"what": "fingerprint", "table": table, "column": column, "index": index, "codec": "text"})
    fields.update({"normaliser": normaliser, "plaintext": text.encode().hex()})
    fields.update({"generation": str(random.randrange(1, 256)), "index key": os.urandom(32).hex()})
    if normaliser != "exact/1":
        fields["normal form"] = normal_form(normaliser, text).encode().hex()
    fields["sealed index key"] = index_key(fields, os.urandom(12)).hex()
    return fields, fingerprint(fields, bytes.fromhex(fields["index key"]))


def random_index_key(fields):
    fields.update({"what": "index key", "generation": str(random.randrange(1, 256)), "index key": os.urandom(32).hex()})
    return fields, index_key(fields, os.urandom(12))


def random_older_key(fields):
    older = os.urandom(32)
    fields.update({"what": "older key", "generation": str(random.randrange(1, 2**32 - 1)), "older dek": older.hex()})
    fields["key id"] = key_id(older).hex()
    return fields, older_key(fields, os.urandom(12))


def random_receipt(fields):
    """Its key is the `dek` of what the writer does, and stands in the file wrapped only."""
    master = os.urandom(32)
    fields.update({"what": "receipt", "app": random.choice(["ophie-crypt", "приложение"]), "shred": os.urandom(16).hex()})
    fields.update({"master key": master.hex(), "kek": kek(master), "text": random_text().encode().hex()})
    fields["wrapped key"] = wrapped_key(fields, os.urandom(12)).hex()
    stored = receipt(fields, None)
    return {field: text for field, text in fields.items() if field not in ("dek", "owner")}, stored


def random_wrapped_key(fields):
    master = os.urandom(32)
    fields.update({"what": "wrapped key", "app": random.choice(["ophie-crypt", "приложение"])})
    fields.update({"generation": str(random.randrange(1, 2**32)), "master key": master.hex(), "kek": kek(master)})
    make = random.choice([wrapped_key, two_shares])
    if make is two_shares:
        fields.update({"kek": TWO_SHARE + kek(master), "share id": os.urandom(16).hex()})
        fields.update({"first share": os.urandom(32).hex(), "second share": os.urandom(32).hex()})
        fields["dek"] = dek_of_shares(fields).hex()
    fields["key id"] = key_id(bytes.fromhex(fields["dek"])).hex()
    return fields, make(fields, os.urandom(12))


def main(count, folder):
    for n in range(int(count)):
        write_new(pathlib.Path(folder) / f"random_{n:04}", file_of(*random_case()))


if __name__ == "__main__":
    main(*sys.argv[1:])
