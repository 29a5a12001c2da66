#!/usr/bin/env python3
"""Writes trie.json: test vectors for the trees of the signed state.

    protocol/tests/vectors/trie.py > protocol/tests/vectors/trie.json

The script follows the definitions in docs/state.md directly and shares no code with Packcast.
"""

import base64
import hashlib
import json

EMPTY = bytes(32)


def sha256(data):
    return hashlib.sha256(data).digest()


def key(name):
    return sha256(b"packcast/key\0" + name.encode())


def bit(name, depth):
    return key(name)[depth // 8] >> (7 - depth % 8) & 1


def halves(leaves, depth):
    """Splits a set of leaves {name: digest} by the bit at this depth."""
    return [{n: d for n, d in leaves.items() if bit(n, depth) == side} for side in (0, 1)]


def root(leaves, depth=0):
    if not leaves:
        return EMPTY
    if len(leaves) == 1:
        ((name, digest),) = leaves.items()
        return sha256(b"\0" + key(name) + digest)
    zero, one = halves(leaves, depth)
    return sha256(b"\1" + root(zero, depth + 1) + root(one, depth + 1))


def leaf_bytes(leaves):
    ((name, digest),) = leaves.items()
    return b"\1" + bytes([len(name.encode())]) + name.encode() + digest


def tree_bytes(leaves, depth=0):
    if not leaves:
        return b"\0"
    if len(leaves) == 1:
        return leaf_bytes(leaves)
    return b"\2" + b"".join(tree_bytes(half, depth + 1) for half in halves(leaves, depth))


def proof_bytes(leaves, names, depth=0):
    """The partial tree that shows only the paths to these names."""
    if not leaves:
        return b"\0"
    if not names:
        return b"\3" + root(leaves, depth)
    if len(leaves) == 1:
        return leaf_bytes(leaves)
    return b"\2" + b"".join(
        proof_bytes(half, [n for n in names if bit(n, depth) == side], depth + 1)
        for side, half in enumerate(halves(leaves, depth))
    )


def pages(leaves, depth=0):
    """The pages of a set as (hash, bytes), each after the pages below it."""
    if not leaves:
        return []
    if len(leaves) <= 40:
        return [(root(leaves, depth), tree_bytes(leaves, depth))]
    below = []

    def levels(part, at):
        if len(part) < 2:
            return tree_bytes(part, at)
        if at == depth + 4:
            below.extend(pages(part, at))
            return b"\3" + root(part, at)
        return b"\2" + b"".join(levels(half, at + 1) for half in halves(part, at))

    page = levels(leaves, depth)
    return below + [(root(leaves, depth), page)]


def device(number):
    text = base64.b32encode(sha256(b"device %d" % number)[:16]).decode().lower().rstrip("=")
    return "device/key:" + text


def digests(names):
    return {name: sha256(b"document of " + name.encode()) for name in names}


def tree(leaves, asked):
    return {
        "leaves": [{"name": n, "digest": d.hex()} for n, d in leaves.items()],
        "root": root(leaves).hex(),
        "bytes": tree_bytes(leaves).hex(),
        "proofs": [
            {
                "names": [{"name": n, "present": n in leaves} for n in names],
                "bytes": proof_bytes(leaves, names).hex(),
            }
            for names in asked
        ],
        "pages": [{"hash": h.hex(), "bytes": b.hex()} for h, b in pages(leaves)],
    }


def damaged():
    """Partial trees that every reader refuses, with the reason."""
    leaves = digests(["group/all", "group/lab"])
    whole = tree_bytes(leaves)
    one = {n: d for n, d in leaves.items() if n == "group/lab"}
    lab = leaf_bytes(one)
    hidden = b"\3" + sha256(b"hidden")
    swapped = [tree_bytes(half, 1) for half in halves(digests(["group/all", opposite()]), 0)]
    return [
        ("no bytes", b""),
        ("cut off in a leaf", whole[:-1]),
        ("cut off after a branch", b"\2" + hidden),
        ("bytes after the tree", whole + b"\0"),
        ("unknown kind of node", b"\4"),
        ("name of no bytes", b"\1\0" + bytes(32)),
        ("name of an unknown kind", b"\1\5pixie" + bytes(32)),
        ("name that is not UTF-8", b"\1\1\xff" + bytes(32)),
        ("commit number with a leading zero", leaf_bytes({"commit/07-00000000": EMPTY})),
        ("branch of two empty sets", b"\2\0\0"),
        ("branch of an empty set and a leaf", b"\2" + (b"\0" + lab if bit("group/lab", 0) else lab + b"\0")),
        ("hidden empty set", b"\3" + EMPTY),
        ("hidden empty set in a branch", b"\2" + hidden + b"\3" + EMPTY),
        ("leaves on each other's path", b"\2" + swapped[1] + swapped[0]),
        ("257 levels", b"\2" * 257 + hidden * 258),
    ]


def opposite():
    """The name of a group whose first bit differs from that of `group/all`."""
    return next(n for n in map("group/g{}".format, range(99)) if bit(n, 0) != bit("group/all", 0))


def main():
    names = [
        "commit/1795327754-0a1b2c3d",
        "device/key:abcdefghijklmnopqrstuvwxya",
        "device/ocs:büro-2026-03-04-05-06-07",
        "group/all",
        "group/lab",
        "location/main",
        "rollout/abcdefghijklmnopqrstuvwxya",
    ]
    devices = [device(n) for n in range(44)]
    vectors = {
        "keys": [{"name": n, "key": key(n).hex()} for n in names],
        "trees": [
            tree({}, [[], ["group/lab"]]),
            tree(digests(["group/lab"]), [[], ["group/lab"], ["group/all"]]),
            # The worked example of docs/state.md.
            tree(
                digests(["group/all", "group/lab"]),
                [["group/lab"], ["group/office"], ["group/nowhere"]],
            ),
            tree(
                digests(["group/all", "group/lab", "group/office", "location/main"]),
                [[], ["group/lab"], ["group/nowhere"], ["group/all", "location/main", "group/x"]],
            ),
            tree(digests(devices[:40]), [[devices[0]], [device(100)]]),
            tree(digests(devices), [[devices[7]], [device(100), device(101)]]),
        ],
        "refused": [{"reason": reason, "bytes": data.hex()} for reason, data in damaged()],
    }
    print(json.dumps(vectors, indent=1, ensure_ascii=False))


main()
