"""How fast does the ingest decode a file, checks included, beside each single decoder? Prints the ratios.

Both sides begin with the file's bytes in memory and end with all its values: ours by the ingest's own functions, the
peers by pydicom with one named decoder and nothing else.
"""

import io
import time
from collections.abc import Callable

import numpy as np
import pydicom
import pytest
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID

from ingest.dicom.decode import digest_pixels, stored_values
from ingest.dicom.header import counted_warnings, read_header

pytestmark = pytest.mark.benchmark

#: One file of each transfer syntax, the largest that there is.
FILES = (
    "mlut_18.dcm",
    "MR_small_bigendian.dcm",
    "image_dfl.dcm",
    "CT1_RLE",
    "CT1_JPLL",
    "CT1_JLSL",
    "RG1_JLSN",
    "CT1_J2KR",
    "RG1_J2KI.dcm",
    "examples_ybr_color.dcm",
)
#: Rounds of all contenders in turn. The best round counts, in seconds of the processor: all decode in one thread, and
#: what else the machine does takes no part.
ROUNDS = 15


def best_of(contenders: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Processor seconds of the best round of each."""
    best = dict.fromkeys(contenders, float("inf"))
    for _ in range(ROUNDS):
        for name, run in contenders.items():
            started = time.process_time()
            run()
            best[name] = min(best[name], time.process_time() - started)
    return best


@pytest.mark.filterwarnings("ignore")
def test_decoding_beside_the_fastest_single_decoder(shared_data, capsys):
    ratios = []
    lines = []
    for file in FILES:
        content = (shared_data / "dicom" / file).read_bytes()
        header = pydicom.dcmread(io.BytesIO(content))
        syntax = UID(header.file_meta.TransferSyntaxUID)

        def peer(plugin: str, content: bytes = content) -> np.ndarray:
            return pixel_array(pydicom.dcmread(io.BytesIO(content)), decoding_plugin=plugin)

        def ours(content: bytes = content) -> np.ndarray:
            with counted_warnings():
                return stored_values(read_header(content))[0]

        def hashed(content: bytes = content) -> str:
            with counted_warnings():
                return digest_pixels(read_header(content)).sha256

        plugins = get_decoder(syntax).available_plugins if syntax.is_encapsulated else ("",)
        contenders = {plugin or "pydicom": lambda plugin=plugin: peer(plugin) for plugin in plugins}
        # Decoders of lossy colour differ by a level of brightness, a few of colour; all others not at all.
        assert np.abs(ours().astype(int) - peer(plugins[0]).astype(int)).max() <= (4 if "YBR" in file.upper() else 0)
        seconds = best_of({**contenders, "ours": ours, "ours, hashed": hashed})
        mine, with_hash = seconds.pop("ours"), seconds.pop("ours, hashed")
        fastest = min(seconds, key=seconds.__getitem__)
        ratios.append(seconds[fastest] / mine)
        others = ", ".join(f"{name} {1 / taken:.1f}" for name, taken in seconds.items())
        lines.append(
            f"{syntax.name}, {file}: ours {1 / mine:.1f} files/s, hashed {1 / with_hash:.1f}; {others}; "
            f"ratio to {fastest} {ratios[-1]:.2f}, hashed {seconds[fastest] / with_hash:.2f}"
        )
    with capsys.disabled():
        print("\n" + "\n".join(lines))
        print(f"geometric mean of the ratios {np.exp(np.mean(np.log(ratios))):.2f}")
