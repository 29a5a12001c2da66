#!/usr/bin/env python3
"""Writes commit.json, key_list.json and documents.json: test vectors of the signed state.

    protocol/tests/vectors/signed.py [FOLDER]    writes into FOLDER (default: the script's own)

The script follows the definitions in docs/state.md and the format of minisign directly, and shares
no code with Packcast. It needs nothing but Python's standard library.
"""

import base64
import hashlib
import json
import os
import sys

# Ed25519 (RFC 8032), by the formulas of its appendix: slow, and only for tests.
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def add(a, b):
    xx, yy = a[0] * b[0], a[1] * b[1]
    t = D * xx * yy
    x = (a[0] * b[1] + a[1] * b[0]) * pow(1 + t, P - 2, P) % P
    return x, (yy + xx) * pow(1 - t, P - 2, P) % P


def multiply(point, scalar):
    result = (0, 1)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def base_point():
    y = 4 * pow(5, P - 2, P) % P
    xx = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(xx, (P + 3) // 8, P)
    if (x * x - xx) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    return (P - x if x & 1 else x), y


BASE = base_point()


def encode(point):
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def number(data):
    return int.from_bytes(hashlib.sha512(data).digest(), "little")


class Key:
    """A key pair from a name; nobody may use such a key for anything but tests."""

    def __init__(self, name):
        seed = hashlib.sha256(b"packcast test key " + name.encode()).digest()
        digest = hashlib.sha512(seed).digest()
        low = int.from_bytes(digest[:32], "little")
        self.scalar = low & (2**254 - 8) | 2**254
        self.prefix = digest[32:]
        self.public = encode(multiply(BASE, self.scalar))
        self.id = hashlib.sha256(self.public).digest()[:8]
        self.text = base64.b64encode(b"Ed" + self.id + self.public).decode()

    def renamed(self):
        """The same key with another key id."""
        return base64.b64encode(b"Ed" + bytes(8) + self.public).decode()

    def sign_bytes(self, message):
        r = number(self.prefix + message) % ORDER
        start = encode(multiply(BASE, r))
        s = (r + number(start + self.public + message) * self.scalar) % ORDER
        return start + s.to_bytes(32, "little")

    def sign(self, text):
        """A prehashed signature in the format of minisign."""
        signature = self.sign_bytes(hashlib.blake2b(text.encode()).digest())
        comment = "timestamp:1795000000"
        whole = self.sign_bytes(signature + comment.encode())
        return "\n".join(
            [
                "untrusted comment: signature of a test key",
                base64.b64encode(b"ED" + self.id + signature).decode(),
                "trusted comment: " + comment,
                base64.b64encode(whole).decode(),
                "",
            ]
        )


ROOT, SECOND, DAILY, THIEF = (Key(name) for name in ["root", "second root", "daily", "thief"])
ISSUED = 1_795_000_000
DAY = 86_400


def target(byte):
    return base64.b32encode(bytes([byte] * 16)).decode().lower().rstrip("=")


TARGET = target(7)


def write(value):
    """The one form of a text: the fields in the order given, no spaces, no escapes for UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def text_of(value):
    return value if isinstance(value, str) else write(value)


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def changed(value, **fields):
    return {**value, **fields}


def signed(text, key, **more):
    return {
        "document": text,
        "signature": key.sign(text),
        "digest": sha256(text),
        "signer": key.text,
        **more,
    }


# Commits.

COMMIT = {
    "schema": 2,
    "kind": "commit",
    "target": TARGET,
    "keys": f"3-{sha256('keys')}",
    "number": ISSUED + 7,
    "parent": f"{ISSUED - 60}-{sha256('parent')}",
    "groups": sha256("groups"),
    "devices": sha256("devices"),
    "ancestors": sha256("ancestors"),
    "issued": ISSUED,
    "expires": ISSUED + 90 * DAY,
    "about": sha256("about"),
}


def commit(value):
    text = write(value)
    number, digest = value["number"], sha256(text)
    return signed(text, DAILY, id=f"{number}-{digest}", leaf=f"commit/{number}-{digest[:8]}")


def refused_commits():
    without_kind = {name: value for name, value in COMMIT.items() if name != "kind"}
    cases = [
        ("another schema", changed(COMMIT, schema=1)),
        ("another kind", changed(COMMIT, kind="keys")),
        ("no kind", without_kind),
        ("unknown field", changed(COMMIT, not_before=ISSUED)),
        ("number 0", changed(COMMIT, number=0, parent=None, issued=0, expires=1)),
        ("key list 0", changed(COMMIT, keys=f"0-{sha256('keys')}")),
        ("key list without a digest", changed(COMMIT, keys=3)),
        ("number of the parent", changed(COMMIT, parent=f"{ISSUED + 7}-{sha256('parent')}")),
        ("number before the time of signing", changed(COMMIT, number=ISSUED - 1)),
        ("number above 2^40", changed(COMMIT, number=2**40 + 1, issued=2**40, expires=2**40 + 1)),
        ("number more than a day ahead", changed(COMMIT, number=ISSUED + DAY + 1)),
        ("no validity", changed(COMMIT, expires=ISSUED)),
        ("validity of more than 90 days", changed(COMMIT, expires=ISSUED + 90 * DAY + 1)),
        ("space", write(COMMIT).replace(",", ", ", 1)),
        ("fields in another order", dict(reversed(COMMIT.items()))),
        ("field twice", write(COMMIT).replace("{", '{"schema":2,', 1)),
        ("hash in capital letters", changed(COMMIT, groups="A" * 64)),
        ("parent without a digest", changed(COMMIT, parent=f"{ISSUED - 60}")),
        ("target of another length", changed(COMMIT, target=TARGET[:-1])),
    ]
    return [signed(text_of(value), DAILY, reason=reason) for reason, value in cases]


def commits():
    first = changed(COMMIT, number=ISSUED, parent=None, ancestors="0" * 64, expires=ISSUED + 1)
    largest = changed(COMMIT, number=ISSUED + DAY)
    return {
        "target": TARGET,
        "key": DAILY.text,
        "commits": [commit(value) for value in [COMMIT, first, largest]],
        "refused": refused_commits(),
        "other_target": commit(changed(COMMIT, target=target(8))),
    }


# Key lists.


def key_list(serial, roots, publishers, **fields):
    return {
        "schema": 2,
        "kind": "keys",
        "target": TARGET,
        "serial": serial,
        "from": ISSUED - 3600,
        "roots": [key.text for key in roots],
        "publishers": sorted(publishers, key=lambda publisher: publisher["key"]),
        "issued": ISSUED,
        "expires": ISSUED + 100 * DAY,
        **fields,
    }


def publisher(key, **restrictions):
    return {"key": key.text, **restrictions}


def step(value, key, result, newest, named, signing=None, in_force=True):
    """A list that a device receives; the result, and the newest list and publisher keys then.

    `signing` are the keys that may sign new commits, if they are not all named keys.
    """
    text = write(value)
    return signed(
        text,
        key,
        id=f"{value['serial']}-{sha256(text)}",
        result=result,
        newest=newest,
        named=sorted(key.text for key in named),
        signing=sorted(key.text for key in (named if signing is None else signing)),
        in_force=in_force,
    )


def key_lists():
    both, daily = [ROOT, SECOND], [publisher(DAILY)]
    stolen = key_list(9, [THIEF], [publisher(THIEF)])
    restricted = [publisher(DAILY), publisher(SECOND, groups=["lab"])]
    own = [publisher(SECOND)]
    retired = [publisher(DAILY), publisher(SECOND, retired=True)]
    other = key_list(1, both, daily, target=target(8))
    steps = [
        step(other, ROOT, "other target", 0, [], in_force=False),
        step(key_list(1, both, daily), THIEF, "unknown signer", 0, [], in_force=False),
        step(key_list(1, both, daily), ROOT, "followed", 1, [DAILY]),
        step(key_list(1, both, daily), ROOT, "held", 1, [DAILY]),
        step(key_list(2, both, restricted), SECOND, "followed", 2, [DAILY]),
        # A thief of the second root key signs a list with a higher number, then continues with a
        # key of his own.
        step(stolen, SECOND, "followed", 9, [THIEF]),
        step(key_list(10, [THIEF], [publisher(THIEF)]), THIEF, "followed", 10, [THIEF]),
        # The first root key outranks both lists, whatever their numbers.
        step(key_list(3, [ROOT], own), ROOT, "followed", 3, [SECOND]),
        step(stolen, SECOND, "unknown root", 3, [SECOND]),
        step(key_list(2, [ROOT], own), ROOT, "outranked", 3, [SECOND]),
        # A list without a day of validity left still names the next root key.
        step(
            key_list(4, [DAILY], daily, issued=ISSUED - 9, expires=ISSUED),
            ROOT,
            "followed",
            4,
            [DAILY],
            in_force=False,
        ),
        step(key_list(5, [DAILY], daily), DAILY, "followed", 5, [DAILY]),
        # A retired key is named, and signs no further commits.
        step(key_list(6, [DAILY], retired), DAILY, "followed", 6, [DAILY, SECOND], [DAILY]),
    ]
    base = key_list(1, both, daily)
    repeated = [publisher(DAILY), publisher(DAILY)]
    restricted_backwards = list(reversed(key_list(2, both, restricted)["publishers"]))
    refused = [
        ("another schema", changed(base, schema=1)),
        ("another kind", changed(base, kind="commit")),
        ("unknown field", changed(base, threshold=2)),
        ("serial number 0", changed(base, serial=0)),
        ("serial number above 2^40", changed(base, serial=2**40 + 1)),
        ("commits from a number more than a day ahead", changed(base, **{"from": ISSUED + DAY + 1})),
        ("no lowest number of commits", {name: base[name] for name in base if name != "from"}),
        ("space", write(base).replace(":", ": ", 1)),
        ("publisher keys in another order", changed(base, publishers=restricted_backwards)),
        ("restriction twice", write(base).replace('"}]', '","note":1,"note":1}]')),
        ("root key with two key ids", changed(base, roots=[ROOT.text, ROOT.renamed()])),
        ("no root key", changed(base, roots=[])),
        ("root key twice", changed(base, roots=[ROOT.text, ROOT.text])),
        ("9 root keys", changed(base, roots=[Key(f"root {n}").text for n in range(9)])),
        ("no publisher key", changed(base, publishers=[])),
        ("publisher key twice", changed(base, publishers=repeated)),
        ("no validity", changed(base, expires=ISSUED)),
        ("validity of more than 100 days", changed(base, expires=ISSUED + 100 * DAY + 1)),
    ]
    return {
        "trust": TARGET + ":" + ",".join(key.text for key in both),
        "now": ISSUED,
        "lists": steps,
        "refused": [signed(text_of(value), ROOT, reason=reason) for reason, value in refused],
    }


# Documents.


def entry(package, seq, force=False, **terms):
    return {
        "package": str(package),
        "manifest": sha256(f"manifest of {package}"),
        "seq": seq,
        "force": force,
        "terms": terms,
    }


def rollout(waves, **fields):
    return {
        "schema": 2,
        "package": "1795000001",
        "manifest": sha256("manifest of 1795000001"),
        "groups": ["branch", "office"],
        "seed": "000102030405060708090a0b0c0d0e0f",
        "waves": waves,
        **fields,
    }


WAVES = [
    {"groups": ["pilot"], "from": ISSUED},
    {"up_to": 100, "from": ISSUED + DAY},
    {"up_to": 5000, "from": ISSUED + DAY},
    {"groups": ["ring"], "from": None},
    {"up_to": 10000, "from": None},
]


def place(device, *groups):
    """The slot of a device in the rollout, and the number of its wave, from 1."""
    value = rollout(WAVES)
    digest = hashlib.sha256(bytes.fromhex(value["seed"]) + device.encode()).digest()
    slot = int.from_bytes(digest[:8], "big") % 10_000

    def includes(wave):
        if "groups" in wave:
            return any(group in wave["groups"] for group in groups)
        return slot < wave["up_to"]

    wave = next(number for number, wave in enumerate(WAVES, 1) if includes(wave))
    return {
        "rollout": write(value),
        "device": device,
        "groups": sorted(groups),
        "slot": slot,
        "wave": wave if any(group in value["groups"] for group in groups) else None,
    }


def places():
    hosts = [f"ocs:host-{n}-2026-03-04-05-06-07" for n in range(8)]
    agent = "key:abcdefghijklmnopqrstuvwxya"
    return [
        *(place(host, "all", "office") for host in hosts),
        *(place(host, "all", "branch", "ring") for host in hosts),
        place(agent, "all", "office"),
        place(agent, "all", "office", "pilot"),
        place(agent, "all", "pilot"),
    ]


def documents():
    empty = {"schema": 2, "created": 5, "revision": 7, "packages": [], "prefer": None, "pace": {}}
    packages = [entry(1795000001, 5), entry(1795000002, 6, force=True, downgrade=True)]
    pace = {
        "fragment_pause_s": 1,
        "cycle_pause_s": 3600,
        "period_pause_s": 5,
        "contact_every_h": 168,
        "timeout_days": 3650,
        "strict": True,
    }
    waiting = [entry(1795000001, 5, ensure=True), entry(1795000002, 6)]
    long = [entry(1795000001, 5, note="x" * 1000)]
    device = {"schema": 2, "groups": {"lab": 5, "tills": 1}, "packages": [entry(1795000003, 8)]}
    location = {"schema": 2, "url": "cdn.example.net:8443/pub"}
    about = {
        "schema": 2,
        "author": "Zoë",
        "host": "desk-7",
        "command": 'packcast assign vlc@3 --group "lab"',
        "note": "",
    }
    valid = [
        ("group", empty, []),
        ("group", changed(empty, packages=packages, prefer="main", pace=pace), []),
        ("group", changed(empty, packages=waiting), ["1795000001"]),
        ("group", changed(empty, packages=long), ["1795000001"]),
        ("group", changed(empty, packages=[entry(1795000001, 5, rollout=target(3))]), []),
        ("group", changed(empty, packages=[entry(1795000001, 5, rollout="3")]), ["1795000001"]),
        ("device", {"schema": 2, "groups": {}, "packages": []}, []),
        ("device", device, []),
        ("location", location, []),
        ("rollout", rollout(WAVES), []),
        ("rollout", rollout(WAVES[-1:]), []),
        ("about", about, []),
    ]
    refused = [
        ("group", "another schema", changed(empty, schema=1)),
        ("group", "unknown field", changed(empty, windows=[])),
        ("group", "space", write(empty) + " "),
        ("group", "fields in another order", dict(reversed(empty.items()))),
        ("group", "revision above 2^40", changed(empty, revision=2**40 + 1)),
        ("group", "packages in another order", changed(empty, packages=packages[::-1])),
        ("group", "term twice", write(changed(empty, packages=packages)).replace('"downgrade":true', '"downgrade":true,"downgrade":true')),
        ("group", "member of a term twice", write(changed(empty, packages=[entry(1795000001, 5, window={"at": 1})])).replace('"at":1', '"at":1,"at":1')),
        ("device", "groups in another order", changed(device, groups={"tills": 1, "lab": 5})),
        ("device", "group twice", write(device).replace('"lab":5', '"lab":5,"lab":5')),
        ("group", "unknown setting", changed(empty, pace={"nightly": True})),
        ("group", "pause of 0 seconds", changed(empty, pace={"cycle_pause_s": 0})),
        ("group", "unknown field of an entry", changed(empty, packages=[changed(packages[0], by=1)])),
        ("group", "package twice", changed(empty, packages=[packages[0], packages[0]])),
        ("group", "package that is a number", changed(empty, packages=[changed(packages[0], package=1795000001)])),
        ("group", "packages of more than 248 KiB", changed(empty, packages=[entry(1795000001, 5, note="x" * (248 * 1024))])),
        ("group", "no commit that created it", {name: empty[name] for name in empty if name != "created"}),
        ("device", "group all", changed(device, groups={"all": 0})),
        ("device", "groups without the commits that created them", changed(device, groups=["lab"])),
        ("device", "41 groups", changed(device, groups={f"g{n:02}": 1 for n in range(41)})),
        ("location", "scheme", changed(location, url="https://cdn.example.net")),
        ("rollout", "no waves", rollout([])),
        ("rollout", "17 waves", rollout([{"up_to": n, "from": None} for n in [*range(1, 17), 10000]])),
        ("rollout", "bounds that do not increase", rollout([WAVES[2], WAVES[1], WAVES[4]])),
        ("rollout", "last wave without the bound 10,000", rollout(WAVES[:3])),
        ("rollout", "last wave with groups", rollout([*WAVES, WAVES[0]])),
        ("rollout", "a wave that opens before the wave in front of it", rollout([WAVES[1], WAVES[0], WAVES[4]])),
        ("rollout", "a time after a wave without one", rollout([WAVES[3], WAVES[1], WAVES[4]])),
        ("rollout", "groups in another order", rollout(WAVES, groups=["office", "branch"])),
        ("rollout", "no groups", rollout(WAVES, groups=[])),
        ("rollout", "41 groups", rollout(WAVES, groups=[f"g{n:02}" for n in range(41)])),
        ("rollout", "short seed", rollout(WAVES, seed="00")),
        ("rollout", "unknown field", rollout(WAVES, days="mon-fri")),
        ("rollout", "unknown field of a wave", rollout([{**WAVES[4], "wait": 1}])),
        ("rollout", "groups and bound of one wave", rollout([{"groups": ["pilot"], **WAVES[4]}])),
        ("about", "control character", changed(about, note="\u001b[2J")),
    ]
    return {
        "documents": [
            {"kind": kind, "text": write(value), "digest": sha256(write(value)), "waiting": names}
            for kind, value, names in valid
        ],
        "waves": places(),
        "refused": [
            {"kind": kind, "reason": reason, "text": text_of(value)}
            for kind, reason, value in refused
        ],
    }


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    vectors = {"commit": commits(), "key_list": key_lists(), "documents": documents()}
    for name, value in vectors.items():
        with open(os.path.join(folder, name + ".json"), "w", encoding="utf-8") as file:
            json.dump(value, file, indent=1, ensure_ascii=False)
            file.write("\n")


main()
