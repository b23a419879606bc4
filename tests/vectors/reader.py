"""Reads the test vectors: an implementation of ophie-crypt/SPEC.md, and of nothing else.

    python3 reader.py [FOLDER]

Needs Python 3.9 and the PyPI package `cryptography`. A file passes if it gives exactly what it expects
and, where it opens, if every case derived from it is rejected for the right reason.

Invariant: nothing here was taken from the Rust code. Absent: writing (`writer.py`).
"""

import base64
import binascii
import datetime
import functools
import hashlib
import hmac
import json
import pathlib
import sys
import unicodedata
import uuid

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

FIELDS = (
    "expect, what, note, app, owner, shred, table, column, index, row, codec, type, bucket, normaliser, generation, kek, "
    "master key, share id, second share, key id, dek, older dek, index key, sealed index key, wrapped key, normal form, "
    "plaintext, text, value".split(", ")
)
DIFFERS = "differs"  # a fingerprint, but not that of the plaintext


class Rejected(Exception):
    """The reason in the words of the vectors."""


def require(condition, reason):
    if not condition:
        raise Rejected(reason)


# ---- Keys, PAE, ids.


@functools.cache
def hkdf(key, info, length):
    info = info.encode() if isinstance(info, str) else info
    return HKDF(SHA256(), length, salt=None, info=info).derive(key)


def key_id(dek):
    return hkdf(dek, "ophie-crypt/v1/key-id", 16)


def seal_key(dek):
    return hkdf(dek, "ophie-crypt/v1/seal", 32)


def is_key(key):
    return len(key) == 32 and key != bytes(32)


def pae(*parts):
    parts = [part.encode() if isinstance(part, str) else part for part in parts]
    le64 = lambda n: n.to_bytes(8, "little")
    return le64(len(parts)) + b"".join(le64(len(part)) + part for part in parts)


def canonical(id):
    kind, _, id = id.partition(" ")
    if kind == "integer":
        return b"i" + int(id).to_bytes(8, "big", signed=True)
    if kind == "text":
        return b"t" + id.encode()
    assert kind == "uuid", f"an id of kind {kind}"
    return b"u" + uuid.UUID(id).bytes


# ---- Envelopes.

FORMS = {0xFA: (False, False), 0xFB: (False, True), 0xFC: (True, False), 0xFD: (True, True)}
OVERHEAD, HEADER = 45, 17


def decrypt(key, stored, aad, reason):
    """The plaintext of header, nonce, ciphertext and tag."""
    try:
        return AESGCM(key).decrypt(stored[HEADER : HEADER + 12], stored[HEADER + 12 :], aad)
    except InvalidTag:
        raise Rejected(reason) from None


def open_value(case, stored):
    require(len(stored) >= OVERHEAD and stored[0] in FORMS, "not an envelope")
    padded, row_bound = FORMS[stored[0]]
    require(row_bound == ("row" in case), "row binding")
    header, dek = stored[:HEADER], bytes.fromhex(case["dek"])
    assert is_key(dek)
    require(hmac.compare_digest(header[1:], key_id(dek)), "unknown key")
    row = canonical(case["row"]) if row_bound else b""
    owner = canonical(case["owner"])
    aad = pae("ophie-crypt/v1/value", header, owner, case["table"], case["column"], case["codec"], row)
    plaintext = decrypt(seal_key(dek), stored, aad, "rejected")
    if padded:
        marked = plaintext.rstrip(b"\0")
        require(marked.endswith(b"\x80"), "rejected")
        plaintext = marked[:-1]
    return plaintext


PREFIX = b"ophie1."


def envelope_of(text):
    """The envelope in a sidecar. Python's decoder takes more than SPEC.md does, so what it read is written again."""
    body = text.removeprefix(PREFIX)
    require(text.startswith(PREFIX), "not an envelope")
    try:
        envelope = base64.urlsafe_b64decode(body + b"=" * (-len(body) % 4))
    except binascii.Error:
        raise Rejected("not an envelope") from None
    require(base64.urlsafe_b64encode(envelope).rstrip(b"=") == body, "not an envelope")
    return envelope


def open_index_key(case, stored):
    dek = bytes.fromhex(case["dek"])
    header = stored[:HEADER]
    require(len(stored) >= OVERHEAD and header == b"\xfa" + key_id(dek), "wrong key")
    aad = pae("ophie-crypt/v1/index-key", header, canonical(case["owner"]), bytes([int(case["generation"])]))
    key = decrypt(seal_key(dek), stored, aad, "wrong key")
    require(len(key) == 32, "wrong key")
    return key


def open_older_key(case, stored):
    """An older DEK, sealed under the newest."""
    newest = bytes.fromhex(case["dek"])
    header = stored[:HEADER]
    require(len(stored) >= OVERHEAD and header == b"\xfa" + key_id(newest), "wrong key")
    aad = pae("ophie-crypt/v1/dek", header, canonical(case["owner"]), int(case["generation"]).to_bytes(4, "big"))
    dek = decrypt(seal_key(newest), stored, aad, "wrong key")
    require(is_key(dek) and hmac.compare_digest(key_id(dek), bytes.fromhex(case["key id"])), "wrong key")
    return dek


def receipt_mac(key, text):
    state = hkdf(key, "ophie-crypt/v1/audit", 32)
    return hmac.digest(hkdf(state, "ophie-crypt/v1/audit/mac", 32), pae("ophie-crypt/v1/receipt", text), "sha256")


def context(case):
    if case["what"] == "receipt":
        return ("app", case["app"], "purpose", "audit", "writer", case["shred"])
    owner = case.get("owner in hex") or canonical(case["owner"]).hex()
    return ("app", case["app"], "generation", case["generation"], "owner", owner)


def unwrap(case, stored):
    dek = joined(case, stored) if case["kek"].startswith(TWO_SHARE) else unwrap_whole(case, case["kek"], stored)
    require(hmac.compare_digest(key_id(dek), bytes.fromhex(case["key id"])), "wrong key")
    return dek


TWO_SHARE = "two-share:"


def joined(case, stored):
    """The DEK of two shares."""
    header = stored[:HEADER]
    require(len(header) == HEADER and header[0] == 2, "refused")
    first = unwrap_whole(case, case["kek"].removeprefix(TWO_SHARE), stored[HEADER:])
    require("second share" in case and header[1:].hex() == case["share id"], "no share")
    return join(case, header, first, bytes.fromhex(case["second share"]))


def join(case, header, first, second):
    return hkdf(first + second, pae("ophie-crypt/v1/two-share", header, *context(case)), 32)


def unwrap_whole(case, kek, stored):
    """What the master key wraps: a DEK, or the first share of one."""
    master = bytes.fromhex(case["master key"])
    require(is_key(master), "refused")
    id = hkdf(master, "ophie-crypt/v1/local-kms/key-id", 16)
    header = stored[:HEADER]
    require(len(stored) >= OVERHEAD and header == b"\x01" + id, "refused")
    aad = pae("ophie-crypt/v1/local-kms", header, *context(case))
    key = decrypt(hkdf(master, "ophie-crypt/v1/local-kms/wrap", 32), stored, aad, "refused")
    require(is_key(key), "refused")
    assert kek == "local:" + id.hex()
    return key


# ---- Codecs: the value in text. `ValueError` is for what the codec does not allow.


def number(plaintext, length, signed=True):
    if len(plaintext) != length:
        raise ValueError
    return int.from_bytes(plaintext, "big", signed=signed)


def bool_(plaintext, _):
    return {0: "false", 1: "true"}[number(plaintext, 1)]


def date(plaintext, _):
    return date_of(number(plaintext, 4))


def date_of(days):
    """The Gregorian calendar repeats itself after 400 years, which are 146,097 days."""
    epoch = datetime.date(1970, 1, 1).toordinal()
    day = datetime.date.fromordinal(epoch + days % 146_097)
    year = day.year + days // 146_097 * 400
    return f"{year:{'04' if 0 <= year <= 9999 else '+05'}}-{day.month:02}-{day.day:02}"


def f64(plaintext, _):
    return f"{number(plaintext, 8, signed=False):016x}"


def int_(plaintext, case):
    value = number(plaintext, 8)
    bits = int(case["type"].removeprefix("i"))
    if not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise ValueError
    return str(value)


def no_number(_):
    raise ValueError


def json_(plaintext, _):
    return ordered(json.loads(text_of(plaintext), parse_constant=no_number))


def ordered(value):
    return json.dumps(value, sort_keys=True)


def text(plaintext, _):
    return ordered(text_of(plaintext))


def text_of(plaintext):
    return plaintext.decode("utf-8", "strict")


def time(plaintext, _):
    if len(plaintext) != 8:
        raise ValueError
    return time_of(number(plaintext[:4], 4, signed=False), number(plaintext[4:], 4, signed=False))


def time_of(s, ns):
    leap = s % 60 == 59 and ns >= 1_000_000_000
    if s >= 86_400 or ns >= (2_000_000_000 if leap else 1_000_000_000):
        raise ValueError
    return f"{s // 3600:02}:{s // 60 % 60:02}:{s % 60 + leap:02}.{ns % 1_000_000_000:09}"


def timestamp(plaintext, _):
    if len(plaintext) != 12:
        raise ValueError
    days, s = divmod(number(plaintext[:8], 8), 86_400)
    return f"{date_of(days)}T{time_of(s, number(plaintext[8:], 4, signed=False))}"


def timestamptz(plaintext, case):
    return timestamp(plaintext, case) + "Z"


def uuid_(plaintext, _):
    return str(uuid.UUID(bytes=plaintext))  # refuses another length itself


CODECS = {
    "bool": bool_,
    "date": date,
    "f64": f64,
    "int": int_,
    "json": json_,
    "text": text,
    "time": time,
    "timestamp": timestamp,
    "timestamptz": timestamptz,
    "uuid": uuid_,
}


def decode(case, plaintext):
    """The value in text; `None` where the codec has none."""
    codec = case["codec"]
    if codec == "bytes" or "/" in codec:
        return None
    try:
        return CODECS[codec](plaintext, case)
    except (ValueError, KeyError):  # both are what `json`, `decode` and the tables above raise
        raise Rejected("codec") from None


# ---- Blind index.


def spec_set(ranges):
    """Code points as SPEC.md lists them."""
    ends = [[int(end.removeprefix("U+"), 16) for end in range_.split("..")] for range_ in ranges.split()]
    return {chr(c) for range_ in ends for c in range(range_[0], range_[-1] + 1)}


IGNORABLE = spec_set(
    "U+00AD U+034F U+061C U+115F..U+1160 U+17B4..U+17B5 U+180B..U+180F U+200B..U+200F U+202A..U+202E "
    "U+2060..U+206F U+3164 U+FE00..U+FE0F U+FEFF U+FFA0 U+FFF0..U+FFF8 U+1BCA0..U+1BCA3 "
    "U+1D173..U+1D17A U+E0000..U+E0FFF"
)
WHITE_SPACE = spec_set("U+0009..U+000D U+0020 U+0085 U+00A0 U+1680 U+2000..U+200A U+2028..U+2029 U+202F U+205F U+3000")


def is_assigned(text):
    """Whether this Python's Unicode tables know every character, so that its normal form is the final one."""
    return all(unicodedata.category(c) != "Cn" for c in text)


def normal_form(normaliser, text):
    folded = unicodedata.normalize("NFKC", text).casefold()  # the full folding, C and F
    kept = "".join(c for c in folded if c not in IGNORABLE)
    if normaliser == "email/1":
        return unicodedata.normalize("NFC", "".join(c for c in kept if c not in WHITE_SPACE))
    assert normaliser == "name/1", f"normaliser {normaliser}"
    spaced = "".join(" " if c in WHITE_SPACE else c for c in unicodedata.normalize("NFC", kept))
    return " ".join(word for word in spaced.split(" ") if word)


def normalise(case):
    plaintext = bytes.fromhex(case["plaintext"])
    if case["normaliser"] == "exact/1":
        return plaintext
    given = bytes.fromhex(case["normal form"])
    text = text_of(plaintext)
    if is_assigned(text):
        made = normal_form(case["normaliser"], text).encode()
        assert made == given, f"normal form {made.hex()}"
    return given


def fingerprint(case, index_key):
    names = (case["table"], case["column"], case["index"], case["normaliser"])
    message = pae("ophie-crypt/v1/index", *names, normalise(case))
    return bytes([int(case["generation"])]) + hmac.digest(index_key, message, "sha256")[:16]


# ---- Files.


def read_value(case, stored):
    plaintext = open_value(case, stored)
    assert plaintext.hex() == case["plaintext"], f"plaintext {plaintext.hex()}"
    value, given = decode(case, plaintext), case.get("value")
    if case["codec"] in ("json", "text") and given is not None:
        given = ordered(json.loads(given))
    assert value == given, f"value {value}"


def read_sidecar(case, stored):
    read_value(case, envelope_of(stored))


def read_index_key(case, stored):
    key = open_index_key(case, stored)
    assert key.hex() == case.get("index key", key.hex())


def read_fingerprint(case, stored):
    require(len(stored) == 17, "not a fingerprint")
    sealed = case.get("sealed index key")
    opened = sealed and open_index_key(case, bytes.fromhex(sealed))
    key = bytes.fromhex(case["index key"]) if "index key" in case else opened
    assert opened in (None, key)
    require(hmac.compare_digest(stored, fingerprint(case, key)), DIFFERS)


def read_wrapped_key(case, stored):
    dek = unwrap(case, stored)
    assert dek.hex() == case["dek"]


def read_older_key(case, stored):
    dek = open_older_key(case, stored)
    assert dek.hex() == case.get("older dek", dek.hex())


def read_receipt(case, stored):
    key = unwrap_whole(case, case["kek"], bytes.fromhex(case["wrapped key"]))
    require(hmac.compare_digest(stored, receipt_mac(key, bytes.fromhex(case["text"]))), "rejected")


READERS = {
    "value": read_value,
    "sidecar": read_sidecar,
    "index key": read_index_key,
    "fingerprint": read_fingerprint,
    "wrapped key": read_wrapped_key,
    "older key": read_older_key,
    "receipt": read_receipt,
}


def read(case, stored):
    try:
        READERS[case["what"]](case, stored)
    except Rejected as rejected:
        return str(rejected)
    return "opens"


def derived(what, stored):
    """What follows from a file that opens: how it was changed, to what, and why that is rejected."""
    for length in range(len(stored)):
        yield "cut short", stored[:length], reason(what, stored[:length], length, stored)
    longer = stored + b"\0"
    yield "lengthened", longer, reason(what, longer, len(stored), stored)
    for bit in range(len(stored) * 8):
        at = bit // 8
        flipped = bytearray(stored)
        flipped[at] ^= 1 << bit % 8
        yield "flipped", bytes(flipped), reason(what, bytes(flipped), at, stored)


def reason(what, changed, at, stored):
    """Why bytes are rejected that were changed from offset `at` on."""
    if what == "sidecar":
        try:
            before, after = envelope_of(stored), envelope_of(changed)
        except Rejected as rejected:
            return str(rejected)
        at = next((i for i, (a, b) in enumerate(zip(before, after)) if a != b), min(len(before), len(after)))
        return reason("value", after, at, before)
    if what == "value":
        if len(changed) < OVERHEAD or changed[0] not in FORMS:
            return "not an envelope"
        return "row binding" if at == 0 else "unknown key" if at < HEADER else "rejected"
    if what == "fingerprint":
        return DIFFERS if len(changed) == 17 else "not a fingerprint"
    if what == "two shares" and len(changed) == len(stored) and 0 < at < HEADER:
        return "no share"
    return {
        "index key": "wrong key",
        "older key": "wrong key",
        "receipt": "rejected",
        "two shares": "refused",
        "wrapped key": "refused",
    }[what]


def parse(file):
    """Fields and stored bytes."""
    head, _, body = file.read_bytes().decode().partition("\n\n")
    case = {}
    for line in head.split("\n"):
        field, colon, value = line.partition(":")
        assert colon and field in FIELDS and field not in case, f"line {line!r}"
        case[field] = value.removeprefix(" ")
    return case, bytes.fromhex(body)


def listed(folder):
    """The files of the folder, checked against SHA256SUMS where there is one."""
    sums = folder / "SHA256SUMS"
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.suffix != ".py" and file != sums)
    if sums.exists():
        made = {f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}" for file in files}
        differ = made.symmetric_difference(sums.read_text("utf-8").splitlines())
        assert not differ, f"SHA256SUMS and the files differ in: {sorted(differ)}"
    return files


def check(file, counts):
    case, stored = parse(file)
    found = read(case, stored)
    assert found == case["expect"], f"expected {case['expect']!r}, found {found!r}"
    if found == "opens":
        for change, bytes_, expected in derived("two shares" if "share id" in case else case["what"], stored):
            found = read(case, bytes_)
            assert found == expected, f"{change}: expected {expected!r}, found {found!r}: {bytes_.hex()}"
            counts[change] = counts.get(change, 0) + 1


def main(folder):
    failed, counts = 0, {}
    files = listed(folder)
    for file in files:
        try:
            check(file, counts)
        except Exception as error:  # of any kind: the file did not pass, and the others are read all the same
            failed += 1
            print(f"{file}: {type(error).__name__}: {error}\n{file.read_text('utf-8')}")
    print(f"derived and rejected: {', '.join(f'{count} {change}' for change, count in sorted(counts.items()))}")
    print(f"{len(files) - failed} passed, {failed} failed")
    return failed > 0 or not files


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent))
