"""The partition that Debezium's PartitionRouting gives an order (`hash.function` murmur, one field).

It is MurmurHash3 in the 64-bit form of Infinispan: a draft of the final algorithm, with constants that
change from block to block. A test compares it with records of the real connector.
"""

_MASK = 2**64 - 1
_SEED = 9001
_BLOCK = 16
_NO_SIGN = 0x7FFFFFFF


def partition_of(order_id: str, partitions: int) -> int:
    """The partition of the order's rows, of this many."""
    hashed = murmur(order_id.encode("utf-8", "replace")) & _NO_SIGN
    return (0 if hashed == _NO_SIGN else hashed) % partitions


def murmur(data: bytes) -> int:
    """The upper 32 bits of the hash."""
    h1, h2 = 0x9368E53C2F6AF274 ^ _SEED, 0x586DCD208F7CD3FD ^ _SEED
    c1, c2 = 0x87C37B91114253D5, 0x4CF5AD432745937F
    for start in range(0, len(data), _BLOCK):
        block = data[start : start + _BLOCK]
        if len(block) == _BLOCK:
            k1, k2 = int.from_bytes(block[:8], "little"), int.from_bytes(block[8:], "little")
        else:
            k1, k2 = _signed(block[:8]), _signed(block[8:])
        k1 = _rotated(k1 * c1, 23) * c2 & _MASK
        h1 = (h1 ^ k1) + h2 & _MASK
        h2 = _rotated(h2, 41)
        k2 = _rotated(k2 * c2, 23) * c1 & _MASK
        h2 = (h2 ^ k2) + h1 & _MASK
        h1, h2 = h1 * 3 + 0x52DCE729 & _MASK, h2 * 3 + 0x38495AB5 & _MASK
        c1, c2 = c1 * 5 + 0x7B7D159C & _MASK, c2 * 5 + 0x6BCE6396 & _MASK
    h2 ^= len(data)
    h1 = h1 + h2 & _MASK
    h2 = h2 + h1 & _MASK
    h1 = _final(h1) + _final(h2) & _MASK
    return h1 >> 32


def _signed(tail: bytes) -> int:
    """The last bytes, as Java's bytes are: one above 127 is negative and flips all bits above it."""
    number = 0
    for place, byte in enumerate(tail):
        number ^= (byte - 256 if byte > 127 else byte) << 8 * place
    return number & _MASK


def _rotated(number: int, bits: int) -> int:
    number &= _MASK
    return (number << bits | number >> 64 - bits) & _MASK


def _final(k: int) -> int:
    k = (k ^ k >> 33) * 0xFF51AFD7ED558CCD & _MASK
    k = (k ^ k >> 33) * 0xC4CEB9FE1A85EC53 & _MASK
    return k ^ k >> 33
