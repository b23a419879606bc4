"""The cases of this folder, each named after the rule that it tests.

    python3 cases.py          compares the files with this list
    python3 cases.py write    writes those that do not exist yet, then compares

Keys and nonces are derived from names, so that anyone can make the same bytes again. Real writers MUST NOT
do that. Invariant: a file that exists stays as it is. Absent: how bytes are made (`writer.py`).
"""

import hashlib
import json
import pathlib
import struct
import sys

import writer
from reader import fingerprint as fingerprint_of, key_id, listed, normal_form, pae
from writer import TWO_SHARE, file_of, kek, pad, write_new

FILES = {}


def derive(name, length=32):
    return hashlib.sha256(f"ophie-crypt test vectors, {name}".encode()).digest()[:length]


ADA, BEN = "uuid 6f1b3c9e-2d47-4a58-9c10-83f5d2a4b7e6", "text ben"
MASTER = derive("master key")


def add(name, make, fields, hidden=(), otherwise=None, change=None):
    """`otherwise` is what the writer did unlike the file says, `change` what was done to its bytes after that."""
    assert name not in FILES, f"{name} is there twice"
    stored = make({**fields, **(otherwise or {})}, derive(f"nonce of {name}", 12))
    shown = {field: text for field, text in fields.items() if field not in hidden}
    FILES[name] = file_of(shown, change(stored) if change else stored)


def fields_of(what, expect, defaults, fields):
    owner = fields.get("owner", ADA)
    return {
        "expect": expect,
        "what": what,
        "owner": owner,
        "dek": derive(f"dek of {owner}").hex(),
        **defaults,
        **fields,
    }


def value(name, expect, codec, plaintext, text=None, otherwise=None, change=None, what="value", **fields):
    place = {"table": "memories", "column": "value", "codec": codec, "type": "i64" if codec == "int" else None}
    fields = fields_of(what, expect, place, {**fields, "plaintext": plaintext.hex(), "value": text})
    hidden = () if expect in ("opens", "codec") else ("plaintext",)
    add(f"{what}_{name}", getattr(writer, what), fields, hidden, otherwise, change)


def index_key(name, expect, otherwise=None, change=None, **fields):
    fields = fields_of("index key", expect, {"generation": "1"}, fields)
    fields["index key"] = derive(f"index key of {fields['owner']}").hex()
    hidden = () if expect == "opens" else ("index key",)
    add(f"index_key{name}", writer.index_key, fields, hidden, otherwise, change)


def older_key(name, expect, otherwise=None, change=None, **fields):
    fields = fields_of("older key", expect, {"generation": "1"}, fields)
    fields["older dek"] = derive(f"older dek of {fields['owner']}").hex()
    fields.setdefault("key id", key_id(bytes.fromhex(fields["older dek"])).hex())
    hidden = () if expect == "opens" else ("older dek",)
    add(f"older_key{name}", writer.older_key, fields, hidden, otherwise, change)


RECEIPT = """shred    0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b
owner    746d6172
ledger   entry 7, covered by entry 9
live     2026-11-30T12:00:00Z: nothing in the database opens
"""


def receipt(name, expect, otherwise=None, change=None, **fields):
    """`wrapped`: what was another when its key was wrapped."""
    wrapped = fields.pop("wrapped", {})
    defaults = {"app": "ophie-crypt", "master key": MASTER.hex(), "kek": kek(MASTER), "text": RECEIPT.encode().hex()}
    fields = {"expect": expect, "what": "receipt", "shred": "0b" * 16, **defaults, **fields}
    fields["dek"] = derive(f"key of receipt {fields['shred']}").hex()
    key = writer.wrapped_key({**fields, **wrapped}, derive(f"nonce of key of receipt{name}", 12))
    fields.setdefault("wrapped key", key.hex())
    add(f"receipt{name}", writer.receipt, fields, ("dek",), otherwise, change)


def fingerprint(name, expect, normaliser, plaintext, codec="text", form=None, change=None, **fields):
    place = {"table": "people_links", "column": "name", "index": "name_fp", "codec": codec, "generation": "1"}
    given = {**fields, "normaliser": normaliser, "plaintext": plaintext.hex()}
    fields = fields_of("fingerprint", expect, place, given)
    if normaliser != "exact/1":
        fields["normal form"] = (form or normal_form(normaliser, plaintext.decode())).encode().hex()
    key = f"index key of {fields['owner']}"
    fields["index key"] = derive(key).hex()
    fields["sealed index key"] = writer.index_key(fields, derive(f"nonce of {key} {fields['generation']}", 12)).hex()
    add(f"fingerprint_{name}", lambda was, _: fingerprint_of(was, derive(key)), fields, (), None, change)


def wrapped_key(name, expect, otherwise=None, change=None, **fields):
    defaults = {"app": "ophie-crypt", "generation": "1", "master key": MASTER.hex(), "kek": kek(MASTER)}
    fields = fields_of("wrapped key", expect, defaults, fields)
    fields.setdefault("key id", key_id(bytes.fromhex(fields["dek"])).hex())
    hidden = ("dek",) if expect == "refused" else ()
    add(f"wrapped_key{name}", writer.wrapped_key, fields, hidden, otherwise, change)


def two_shares(name, expect, otherwise=None, change=None, hidden=(), **fields):
    defaults = {"app": "ophie-crypt", "generation": "1", "master key": MASTER.hex(), "kek": TWO_SHARE + kek(MASTER)}
    fields = fields_of("wrapped key", expect, defaults, fields)
    for field, length in [("share id", 16), ("first share", 32), ("second share", 32)]:
        fields.setdefault(field, derive(f"{field} of {fields['owner']}", length).hex())
    fields["dek"] = writer.dek_of_shares({**fields, **(otherwise or {})}).hex()
    fields.setdefault("key id", key_id(bytes.fromhex(fields["dek"])).hex())
    hidden = hidden if expect in ("opens", "wrong key") else ("dek", *hidden)
    add(f"wrapped_key_two_shares{name}", writer.two_shares, fields, hidden, otherwise, change)


def text(name, text, **more):
    value(name, "opens", "text", text.encode(), json.dumps(text), **more)


def rejected(name, expect="rejected", codec="text", plaintext=b"slept badly", **more):
    value(name, expect, codec, plaintext, **more)


def pae_big_endian(*parts):
    parts = [part.encode() if isinstance(part, str) else part for part in parts]
    be64 = lambda n: n.to_bytes(8, "big")
    return be64(len(parts)) + b"".join(be64(len(part)) + part for part in parts)


# ---- Values: every codec.

value("bool_false", "opens", "bool", b"\0", "false")
value("bool_true", "opens", "bool", b"\1", "true")
value("bytes", "opens", "bytes", bytes(range(256)))
value("bytes_none", "opens", "bytes", b"")
value("date_epoch", "opens", "date", struct.pack(">i", 0), "1970-01-01")
value("date_leap_day", "opens", "date", struct.pack(">i", 11_016), "2000-02-29")
value("date_before_1970", "opens", "date", struct.pack(">i", -1), "1969-12-31")
value("date_year_0", "opens", "date", struct.pack(">i", -719_528), "0000-01-01")
value("date_before_year_0", "opens", "date", struct.pack(">i", -719_529), "-0001-12-31")
value("date_after_year_9999", "opens", "date", struct.pack(">i", 2_932_897), "+10000-01-01")
value("f64", "opens", "f64", struct.pack(">d", -1234.5), struct.pack(">d", -1234.5).hex())
value("f64_negative_zero", "opens", "f64", struct.pack(">d", -0.0), "8000000000000000")
value("f64_infinity", "opens", "f64", struct.pack(">d", float("inf")), "7ff0000000000000")
value("f64_bits_of_nan", "opens", "f64", bytes.fromhex("fff8000000000001"), "fff8000000000001")
value("int_i16_least", "opens", "int", struct.pack(">q", -(2**15)), str(-(2**15)), type="i16")
value("int_i32_most", "opens", "int", struct.pack(">q", 2**31 - 1), str(2**31 - 1), type="i32")
value("int_i64_least", "opens", "int", struct.pack(">q", -(2**63)), str(-(2**63)))
value("int_i64_most", "opens", "int", struct.pack(">q", 2**63 - 1), str(2**63 - 1))
JSON = '{"mood":"müde","hours":[6.5,0,-1e3],"alone":true,"with":null}'
value("json", "opens", "json", JSON.encode(), JSON)
value("json_null", "opens", "json", b"null", "null")
value("json_escapes", "opens", "json", rb'"\u00fc \ud83d\ude34 \/ \n"', r'"ü 😴 / \n"')
value("json_white_space", "opens", "json", b' \t{ "a" : [ 1 , 2 ] }\r\n', '{"a":[1,2]}')
value("json_nested", "opens", "json", b"[" * 127 + b"]" * 127, "[" * 127 + "]" * 127)
NEAREST = "[6.934698245112694e276,5e-324,0.1]"
value("json_nearest_number", "opens", "json", NEAREST.encode(), NEAREST, note="read to the nearest binary64")
text("text", "slept badly")
text("text_empty", "")
text("text_not_normalised", "Zoe\u0308 \ufb01")
text("text_of_any_character", "\0 \u00fc \u20ac \U0001f634 \U0010ffff \ufeff")
text("text_zero_at_its_end", "a\0")
text("text_long", "I dreamt of the sea again. " * 40)
value("time_midnight", "opens", "time", struct.pack(">II", 0, 0), "00:00:00.000000000")
value("time_last", "opens", "time", struct.pack(">II", 86_399, 999_999_999), "23:59:59.999999999")
value("time_leap_second", "opens", "time", struct.pack(">II", 86_399, 1_500_000_000), "23:59:60.500000000")
value(
    "time_leap_second_of_any_minute",
    "opens",
    "time",
    struct.pack(">II", 59, 1_999_999_999),
    "00:00:60.999999999",
)
value("timestamp", "opens", "timestamp", struct.pack(">qI", 951_782_400, 1), "2000-02-29T00:00:00.000000001")
value(
    "timestamp_before_1970",
    "opens",
    "timestamp",
    struct.pack(">qI", -1, 500_000_000),
    "1969-12-31T23:59:59.500000000",
)
value(
    "timestamp_leap_second",
    "opens",
    "timestamp",
    struct.pack(">qI", 1_483_228_799, 1_000_000_000),
    "2016-12-31T23:59:60.000000000",
)
value(
    "timestamptz",
    "opens",
    "timestamptz",
    struct.pack(">qI", 1_700_000_000, 123_456_789),
    "2023-11-14T22:13:20.123456789Z",
)
value(
    "timestamptz_before_1970",
    "opens",
    "timestamptz",
    struct.pack(">qI", -86_401, 1),
    "1969-12-30T23:59:59.000000001Z",
)
value("uuid", "opens", "uuid", bytes(range(16)), "00010203-0405-0607-0809-0a0b0c0d0e0f")
value(
    "own_codec",
    "opens",
    "my-app/point",
    struct.pack(">ii", 3, -4),
    note="this page says nothing about the bytes of such a codec",
)

# ---- Values: forms, padding, owners, rows, names.

text("padded", "fifteen letters", bucket="16")
text("padded_full_bucket", "sixteen letters!", bucket="16", note="the mark takes a byte: 32 bytes")
text("padded_empty", "", bucket="16")
text("padded_bucket_of_1", "abc", bucket="1")
text("padded_to_no_bucket", "abc", otherwise={"padded": b"abc\x80\0"}, note="readers do not check the bucket")
text("padded_by_more_than_a_byte_can_count", "abc", otherwise={"padded": pad(b"abc", 600)})
value("padded_bytes_like_padding", "opens", "bytes", b"\x80\0\0", bucket="16")
value("padded_int", "opens", "int", struct.pack(">q", 7), "7", bucket="32")
value("padded_bool", "opens", "bool", b"\1", "true", bucket="16")
value("padded_json", "opens", "json", b"[]", "[]", bucket="16")
value("padded_own_codec", "opens", "my-app/point", b"", bucket="8")
text("row_bound_uuid", "slept badly", row="uuid 00010203-0405-0607-0809-0a0b0c0d0e0f")
text("row_bound_integer", "slept badly", row="integer 7")
text("row_bound_text", "slept badly", row="text 2026-11-24/3")
value("row_bound_bytes", "opens", "bytes", b"", row="integer -1")
value("row_bound_date", "opens", "date", struct.pack(">i", 0), "1970-01-01", row="integer 7")
value(
    "row_bound_timestamptz",
    "opens",
    "timestamptz",
    struct.pack(">qI", 0, 0),
    "1970-01-01T00:00:00.000000000Z",
    row="integer 7",
)
text("row_bound_and_padded", "slept badly", row="integer 7", bucket="16")
value("row_bound_and_padded_f64", "opens", "f64", bytes(8), "0000000000000000", row="integer 7", bucket="16")
text("owner_integer", "slept badly", owner="integer 42")
text("owner_integer_least", "slept badly", owner=f"integer {-(2**63)}")
text("owner_text", "slept badly", owner=BEN)
text("owner_text_not_normalised", "slept badly", owner="text Zoe\u0308")
text("names_not_ascii", "slept badly", table="größen", column="длина")

# ---- Values that are no envelope, or of another form.

rejected("empty", "not an envelope", change=lambda _: b"")
rejected("of_44_bytes", "not an envelope", plaintext=b"", change=lambda stored: stored[:-1])
rejected("plaintext", "not an envelope", change=lambda _: b"a plaintext of 45 bytes or more is no envelope")
rejected("form_0", "not an envelope", otherwise={"form": 0x00})
rejected("form_f9", "not an envelope", otherwise={"form": 0xF9})
rejected("form_fe", "not an envelope", otherwise={"form": 0xFE})
rejected("row_bound_without_row", "row binding", otherwise={"row": "integer 7"})
rejected("row_bound_without_row_padded", "row binding", bucket="16", otherwise={"row": "integer 7"})
rejected("row_for_unbound", "row binding", row="integer 7", otherwise={"row": None})
rejected("row_for_unbound_padded", "row binding", row="integer 7", bucket="16", otherwise={"row": None})
rejected(
    "row_binding_before_key",
    "row binding",
    row="integer 7",
    otherwise={"row": None, "dek": derive("another dek").hex()},
)

# ---- Values of another key or place.

OTHER_DEK = derive("another dek")
rejected(
    "other_dek",
    "unknown key",
    otherwise={"dek": OTHER_DEK.hex()},
    note="sealed under another DEK of the same owner",
)
rejected("other_key_id", "unknown key", otherwise={"key id": key_id(OTHER_DEK)}, note="all but the key id is right")
rejected(
    "other_owner",
    otherwise={"owner": "uuid 6f1b3c9e-2d47-4a58-9c10-83f5d2a4b7e7"},
    note="sealed under the same DEK",
)
rejected("other_kind_of_owner", owner="integer 42", otherwise={"owner": "text 42"})
rejected("other_table", otherwise={"table": "dreams"})
rejected("other_column", otherwise={"column": "note"})
rejected("other_boundary_of_names", table="ab", column="c", otherwise={"table": "a", "column": "bc"})
rejected("other_codec", otherwise={"codec": "bytes"})
rejected("other_codec_of_number", codec="f64", plaintext=bytes(8), otherwise={"codec": "int"})
rejected("other_codec_of_own", codec="my-app/point", otherwise={"codec": "text"})
rejected("other_row", row="integer 7", otherwise={"row": "integer 8"})
rejected("other_kind_of_row", row="integer 7", otherwise={"row": "text 7"})
rejected("padded_as_unpadded", bucket="16", change=lambda stored: b"\xfa" + stored[1:])
rejected(
    "unpadded_as_padded",
    change=lambda stored: b"\xfc" + stored[1:],
    otherwise={"padded": None, "plaintext": b"a\x80".hex()},
)
rejected("row_bound_as_unbound", otherwise={"row": "integer 7"}, change=lambda stored: b"\xfa" + stored[1:])
rejected("unbound_as_row_bound", row="integer 7", otherwise={"row": None}, change=lambda stored: b"\xfb" + stored[1:])
rejected(
    "sealed_as_index_key",
    otherwise={"pae": lambda _, header, owner, *names: pae("ophie-crypt/v1/index-key", header, owner, b"\1")},
)
rejected("without_associated_data", otherwise={"pae": lambda *_: b""})
rejected("lengths_big_endian", otherwise={"pae": pae_big_endian})
rejected("under_the_dek_itself", otherwise={"key": derive(f"dek of {ADA}")})

# ---- Padding and codecs that a writer got wrong.

rejected("padding_empty", otherwise={"padded": b""})
rejected("padding_only_zeros", otherwise={"padded": bytes(16)})
rejected("padding_without_mark", otherwise={"padded": b"slept badly\0\0\0\0\0"})
rejected("padding_with_another_mark", otherwise={"padded": b"slept badly\x81\0\0\0\0"})
rejected("padding_not_zero_at_its_end", otherwise={"padded": b"slept badly\x80\0\0\0\1"})
for name, codec, plaintext in [
    ("bool_2", "bool", b"\2"),
    ("bool_empty", "bool", b""),
    ("bool_long", "bool", b"\1\0"),
    ("date_short", "date", bytes(3)),
    ("date_long", "date", bytes(8)),
    ("f64_short", "f64", bytes(4)),
    ("int_short", "int", bytes(4)),
    ("int_long", "int", bytes(16)),
    ("json_empty", "json", b""),
    ("json_nan", "json", b"[NaN]"),
    ("json_infinity", "json", b"-Infinity"),
    ("json_byte_order_mark", "json", b"\xef\xbb\xbf1"),
    ("json_two_texts", "json", b"1 2"),
    ("json_cut", "json", b'{"a":'),
    ("json_comma", "json", b"[1,]"),
    ("json_control_character", "json", b'"\n"'),
    ("json_invalid_utf8", "json", b'"\xff"'),
    ("text_invalid_utf8", "text", b"slept \xff"),
    ("text_cut", "text", "ü".encode()[:1]),
    ("text_overlong", "text", b"\xc0\xaf"),
    ("text_surrogate", "text", b"\xed\xa0\x80"),
    ("text_beyond_unicode", "text", b"\xf4\x90\x80\x80"),
    ("time_short", "time", bytes(7)),
    ("time_of_86400", "time", struct.pack(">II", 86_400, 0)),
    ("time_nanoseconds", "time", struct.pack(">II", 59, 2_000_000_000)),
    ("time_leap_not_in_59", "time", struct.pack(">II", 58, 1_000_000_000)),
    ("timestamp_short", "timestamp", bytes(8)),
    ("timestamp_leap_not_in_59", "timestamp", struct.pack(">qI", -2, 1_000_000_000)),
    ("timestamptz_long", "timestamptz", bytes(13)),
    ("timestamptz_nanoseconds", "timestamptz", struct.pack(">qI", 59, 2_000_000_000)),
    ("uuid_short", "uuid", bytes(15)),
    ("uuid_in_text", "uuid", b"00010203-0405-0607-0809-0a0b0c0d0e0f"),
]:
    value(f"codec_{name}", "codec", codec, plaintext)
value("codec_int_beyond_i16", "codec", "int", struct.pack(">q", 2**15), type="i16")
value("codec_int_below_i32", "codec", "int", struct.pack(">q", -(2**31) - 1), type="i32")
value("codec_text_invalid_utf8_padded", "codec", "text", b"\xff", bucket="16")
value("codec_bool_2_row_bound", "codec", "bool", b"\2", row="integer 7")

# ---- Sidecars.

for name, more in [
    ("text", {}),
    ("owner_text", {"owner": BEN}),
    ("padded", {"bucket": "16", "column": "note"}),
    ("row_bound", {"row": "text memory-1"}),
    ("row_bound_and_padded", {"row": "uuid 0b5e9b1e-5ad0-4c5c-9a5d-6f2f0f0a7c11", "bucket": "16", "column": "note"}),
]:
    text(name, "slept badly", what="sidecar", **more)
text("empty", "", what="sidecar")
value("int", "opens", "int", struct.pack(">q", 7), "7", what="sidecar")
value("bytes_of_one", "opens", "bytes", b"\0", what="sidecar")
for name, change in [
    ("of_nothing", lambda stored: b""),
    ("plaintext", lambda stored: b"slept badly"),
    ("prefix_alone", lambda stored: b"ophie1."),
    ("without_prefix", lambda stored: stored[7:]),
    ("prefix_of_2", lambda stored: b"ophie2." + stored[7:]),
    ("prefix_in_upper_case", lambda stored: b"OPHIE1." + stored[7:]),
    ("with_padding", lambda stored: stored + b"=" * (-len(stored[7:]) % 4)),
    ("other_alphabet", lambda stored: stored.replace(b"-", b"+").replace(b"_", b"/")),
    ("white_space_at_its_end", lambda stored: stored + b"\n"),
    ("white_space_inside", lambda stored: stored[:20] + b" " + stored[20:]),
    ("left_over_bits", lambda stored: stored[:-1] + bytes([stored[-1] + 1])),
    ("one_character_more", lambda stored: stored + b"A" * (1 + -len(stored[7:]) % 4)),
    ("of_44_bytes", lambda stored: stored[: 7 + 59]),
    ("envelope_in_bytes", lambda stored: writer.base64.urlsafe_b64decode(stored[7:] + b"==")),
    ("not_ascii", lambda stored: stored[:-1] + "ü".encode()),
]:
    rejected(name, "not an envelope", change=change, what="sidecar")
rejected("cut_short", change=lambda stored: stored[:-3], what="sidecar")
rejected("other_owner", otherwise={"owner": BEN}, what="sidecar", note="sealed under the same DEK")
rejected("other_column", otherwise={"column": "note"}, what="sidecar")
rejected("other_codec", otherwise={"codec": "bytes"}, what="sidecar")
rejected("other_row", row="text memory-1", otherwise={"row": "text memory-2"}, what="sidecar")
rejected("row_bound_without_row", "row binding", otherwise={"row": "text memory-1"}, what="sidecar")
rejected("other_dek", "unknown key", otherwise={"dek": OTHER_DEK.hex()}, what="sidecar")
value("codec_text_invalid_utf8", "codec", "text", b"\xff", what="sidecar")

# ---- Index keys.

index_key("", "opens")
index_key("_generation_255", "opens", generation="255")
index_key("_owner_text", "opens", owner=BEN)
index_key("_other_owner", "wrong key", otherwise={"owner": BEN}, note="sealed under the same DEK")
index_key("_other_dek", "wrong key", otherwise={"dek": OTHER_DEK.hex()})
index_key("_other_generation", "wrong key", generation="2", otherwise={"generation": "1"})
index_key("_sealed_as_value", "wrong key", otherwise={"label": "ophie-crypt/v1/value"})
index_key("_form_row_bound", "wrong key", otherwise={"form": 0xFB})
index_key(
    "_form_padded",
    "wrong key",
    otherwise={"form": 0xFC, "index key": pad(derive(f"index key of {ADA}"), 64).hex()},
)
index_key("_form_f9", "wrong key", otherwise={"form": 0xF9})
index_key("_short", "wrong key", otherwise={"index key": "07" * 31})
index_key("_long", "wrong key", otherwise={"index key": "07" * 33})
index_key("_empty", "wrong key", change=lambda _: b"")

# ---- Older DEKs, under the newest.

older_key("", "opens")
older_key("_owner_text", "opens", owner=BEN)
older_key("_generation_256", "opens", generation="256", note="big-endian")
older_key("_generation_most", "opens", generation=str(2**32 - 2), note="the newest is one more")
older_key("_other_owner", "wrong key", otherwise={"owner": BEN}, note="sealed under the same DEK")
older_key("_other_dek", "wrong key", otherwise={"dek": OTHER_DEK.hex()})
older_key("_other_generation", "wrong key", generation="2", otherwise={"generation": "1"})
older_key("_generation_of_one_byte", "wrong key", otherwise={"generation bytes": b"\1"})
older_key("_generation_little_endian", "wrong key", otherwise={"generation bytes": b"\1\0\0\0"})
older_key("_other_key_id", "wrong key", **{"key id": key_id(OTHER_DEK).hex()})
older_key("_sealed_as_index_key", "wrong key", otherwise={"label": "ophie-crypt/v1/index-key"})
older_key("_sealed_as_value", "wrong key", otherwise={"label": "ophie-crypt/v1/value"})
older_key("_form_row_bound", "wrong key", otherwise={"form": 0xFB})
older_key("_form_f9", "wrong key", otherwise={"form": 0xF9})
for name, key in [("zero", bytes(32)), ("short", bytes([7]) * 31), ("long", bytes([7]) * 33)]:
    older_key(f"_{name}", "wrong key", otherwise={"older dek": key.hex()}, **{"key id": key_id(key).hex()})
older_key("_empty", "wrong key", change=lambda _: b"")

# ---- Fingerprints.

fingerprint("exact", "opens", "exact/1", b"Mom")
fingerprint("exact_case", "opens", "exact/1", b"mom")
fingerprint("exact_empty", "opens", "exact/1", b"")
fingerprint("exact_int", "opens", "exact/1", struct.pack(">q", 7), codec="int")
fingerprint("exact_uuid", "opens", "exact/1", bytes(range(16)), codec="uuid")
fingerprint("exact_bytes", "opens", "exact/1", bytes(range(256)), codec="bytes")
fingerprint("exact_date", "opens", "exact/1", struct.pack(">i", 11_016), codec="date")
fingerprint("exact_own_codec", "opens", "exact/1", b"\0\1", codec="my-app/point")
fingerprint("generation_255", "opens", "exact/1", b"Mom", generation="255")
fingerprint("owner_text", "opens", "exact/1", b"Mom", owner=BEN)
fingerprint("of_another_table", "opens", "exact/1", b"Mom", table="contacts")
fingerprint("of_another_column", "opens", "exact/1", b"Mom", column="nickname")
fingerprint("of_another_index", "opens", "exact/1", b"Mom", index="name_fp_2")
for name, plain in [
    ("ascii", "  Mom\tand  Dad "),
    ("upper_case", "MÜLLER"),
    ("decomposed", "mu\u0308ller"),
    ("sharp_s", "Groß"),
    ("dotted_i", "İbrahim"),
    ("final_sigma", "ΣΊΣΥΦΟΣ"),
    ("iota_subscript", "ᾳ \u0345"),
    ("compatibility", "ﬁ Ⅷ Ａ ㎏ ①"),
    ("hangul", "\u1112\u1161\u11ab"),
    ("default_ignorable", "a\u00ad\u200d\u200b\ufeffb\ufe0f\U000e0041"),
    ("ignorable_between_marks", "e\u0323\u034f\u0302"),
    ("white_space", "\u3000a\u00a0\u2028\u0085b\u1680"),
    ("only_white_space", " \u2003\t"),
    ("empty", ""),
]:
    fingerprint(f"name_{name}", "opens", "name/1", plain.encode())
fingerprint(
    "name_of_unicode_16",
    "opens",
    "name/1",
    "\u1c89".encode(),
    form="\u1c8a",
    note="a pair of letters that Unicode 16.0 added",
)
for name, plain in [
    ("ascii", " Anna.B+x@Example.ORG\n"),
    ("not_ascii", "JÖRG@BÜCHER.example"),
    ("inner_white_space", "a \u00a0b@ c\u2009d"),
    ("white_space_between_marks", "e\u0323 \u0302@x"),
    ("full_width", "ａ＠ｂ．ｃ\u200b"),
]:
    fingerprint(f"email_{name}", "opens", "email/1", plain.encode())
fingerprint("short", "not a fingerprint", "exact/1", b"Mom", change=lambda stored: stored[:-1])
fingerprint("long", "not a fingerprint", "name/1", b"Mom", change=lambda stored: stored + b"\0")
fingerprint("empty", "not a fingerprint", "exact/1", b"", change=lambda _: b"")

# ---- Wrapped keys.

wrapped_key("", "opens")
wrapped_key("_owner_integer", "opens", owner="integer 42")
wrapped_key("_generation_most", "opens", generation=str(2**32 - 1))
wrapped_key("_app_not_ascii", "opens", app="приложение")
wrapped_key("_other_key_id", "wrong key", **{"key id": key_id(OTHER_DEK).hex()})
wrapped_key("_other_owner", "refused", otherwise={"owner": BEN})
wrapped_key("_other_app", "refused", otherwise={"app": "another"})
wrapped_key("_other_generation", "refused", generation="2", otherwise={"generation": "1"})
wrapped_key("_generation_with_zero", "refused", otherwise={"generation": "01"})
wrapped_key("_owner_in_upper_case", "refused", otherwise={"owner in hex": "756F1B3C9E2D474A589C1083F5D2A4B7E6"})
wrapped_key(
    "_other_master_key",
    "refused",
    otherwise={"master key": derive("another master key").hex()},
    kek=kek(derive("another master key")),
)
wrapped_key("_version_2", "refused", otherwise={"version": 2})
wrapped_key("_dek_zero", "refused", otherwise={"dek": "00" * 32})
wrapped_key("_dek_short", "refused", otherwise={"dek": "07" * 31})
wrapped_key("_dek_long", "refused", otherwise={"dek": "07" * 33})
wrapped_key("_empty", "refused", change=lambda _: b"")
for name, master in [
    ("zero", bytes(32)),
    ("short", bytes([7]) * 31),
    ("long", bytes([7]) * 33),
    ("empty", b""),
]:
    wrapped_key(f"_master_key_{name}", "refused", kek=kek(master), **{"master key": master.hex()})


# ---- Wrapped keys in two shares.

two_shares("", "opens")
two_shares("_owner_integer", "opens", owner="integer 42")
two_shares("_generation_most", "opens", generation=str(2**32 - 1))
two_shares("_app_not_ascii", "opens", app="приложение")
two_shares("_other_owner", "refused", otherwise={"owner": BEN})
two_shares("_other_app", "refused", otherwise={"app": "another"})
two_shares("_other_generation", "refused", generation="2", otherwise={"generation": "1"})
two_shares("_version_1", "refused", otherwise={"share version": 1})
two_shares("_in_one_piece", "refused", change=lambda stored: stored[17:])
two_shares("_named_as_in_one_piece", "refused", kek=kek(MASTER), hidden=("share id", "second share"))
two_shares("_empty", "refused", change=lambda _: b"")
two_shares("_header_alone", "refused", change=lambda stored: stored[:17])
two_shares("_first_share_zero", "refused", otherwise={"first share": "00" * 32})
two_shares("_second_share_gone", "no share", hidden=("share id", "second share"))
two_shares("_second_share_of_another_id", "no share", otherwise={"share id": derive("another share", 16).hex()})
OTHER_SHARE = {"second share": derive("another second share").hex()}
KEY_ID = FILES["wrapped_key_two_shares"].partition("key id: ")[2].partition("\n")[0]
two_shares("_other_second_share", "wrong key", **OTHER_SHARE, **{"key id": KEY_ID})

# ---- MACs of receipts.

receipt("", "opens")
receipt("_text_empty", "opens", text="")
receipt("_app_not_ascii", "opens", app="приложение")
receipt("_other_text", "rejected", otherwise={"text": RECEIPT.replace("entry 7", "entry 8").encode().hex()})
receipt("_other_key", "rejected", otherwise={"dek": OTHER_DEK.hex()})
receipt("_mac_of_nothing", "rejected", change=lambda _: b"")
receipt("_other_shred", "refused", wrapped={"shred": "0c" * 16})
receipt("_other_app", "refused", wrapped={"app": "another"})
receipt("_key_of_an_owner", "refused", wrapped={"what": "wrapped key", "owner": ADA, "generation": "1"})


def write(folder):
    for name, file in FILES.items():
        if not (folder / name).exists():
            write_new(folder / name, file)
            with (folder / "SHA256SUMS").open("a", newline="\n") as sums:
                sums.write(f"{hashlib.sha256(file.encode()).hexdigest()}  {name}\n")


def main(arguments):
    folder = pathlib.Path(__file__).parent
    if arguments == ["write"]:
        write(folder)
    found = {file.name: file.read_text("utf-8") for file in listed(folder)}
    differ = [name for name in sorted({*found, *FILES}) if found.get(name) != FILES.get(name)]
    print("".join(f"{name} is not what this list makes\n" for name in differ), end="")
    return differ != []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
