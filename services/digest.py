"""How is a key made from content?"""

import hashlib


def digest(*parts: str) -> str:
    """First 32 hex digits of a sha256 over the parts and their lengths, so that no two lists agree by chance."""
    state = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogateescape")
        state.update(f"{len(encoded)}:".encode())
        state.update(encoded)
    return state.hexdigest()[:32]
