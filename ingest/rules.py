"""By which rules are the acquisitions of an archive paired, in either domain?"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from ingest.dicom import rules as dicom
from ingest.errors import BadRules
from ingest.geotiff import rules as geotiff


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Rules of both domains.

    Attributes:
        radiology: For radiographs and volumes.
        scenes: For satellite scenes.
    """

    radiology: dicom.PairingRules
    scenes: geotiff.SceneRules


def load_rules(name_or_file: str) -> Rules:
    """Built-in rules by name, or those of a TOML file; what a name or file says nothing of is the default.

    Raises:
        BadRules: There is no such file, or a key is missing, unknown or has a value that it cannot have.
    """
    if name_or_file in dicom.BUILT_IN or name_or_file in geotiff.BUILT_IN:
        return Rules(
            radiology=dicom.load_rules(name_or_file if name_or_file in dicom.BUILT_IN else "default"),
            scenes=geotiff.load_scene_rules(name_or_file if name_or_file in geotiff.BUILT_IN else "default"),
        )
    path = Path(name_or_file)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        names = ", ".join({**dicom.BUILT_IN, **geotiff.BUILT_IN})
        raise BadRules(
            f"The pairing rules {path.name} cannot be read ({type(error).__name__}); give a TOML file, or one of "
            f"{names}."
        ) from None
    return parse_rules(text, name=path.name)


def parse_rules(text: str, *, name: str) -> Rules:
    """The rules that a TOML text states.

    Raises:
        BadRules: A key is missing, unknown or has a value that it cannot have.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadRules(f"The pairing rules {name} are no TOML: {error}.") from None
    has_scenes = "scenes" in content
    only_scenes = content.keys() == {"scenes"}
    return Rules(
        radiology=dicom.load_rules("default") if only_scenes else dicom.parse_rules(text, name=name),
        scenes=geotiff.parse_scene_rules(content["scenes"], name=name)
        if has_scenes
        else geotiff.load_scene_rules("default"),
    )
